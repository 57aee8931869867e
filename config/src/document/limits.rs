//! The sections `limits` and `spent_status`, and limits as roles, keys and credentials write them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::amount::{Amount, MOST};

/// A limit on any level, over any window.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LimitEntry {
    /// How refusals and the management API name it; the default is `scope-measure-window`.
    #[serde(default)]
    pub(crate) name: Option<String>,
    /// Of what each one is counted apart: `user` = every user has this limit.
    pub(crate) scope: LimitScope,
    /// Those it is for, with `*` for any run of characters and `!` in front of what it is not for:
    /// roles, users, tokens, models or credentials, as `scope` says. The default is all.
    #[serde(default)]
    pub(crate) only: Option<Vec<String>>,
    /// What is counted. `usd` is by the price table; `concurrency` counts calls that run.
    pub(crate) measure: LimitMeasure,
    /// Over which time: `second` is the last one at every moment, the others begin with the clock
    /// and the calendar. Not with `concurrency`.
    #[serde(default)]
    pub(crate) window: Option<LimitWindow>,
    /// So much: a whole number, or US dollars with up to six places.
    pub(crate) limit: Amount,
    /// Where hours, days, weeks and months begin, such as Europe/Berlin; the default is UTC.
    #[serde(default)]
    pub(crate) zone: Option<String>,
    /// What becomes of calls while the store is away: `local_share` = each replica an equal share,
    /// the default up to a minute and for `concurrency`; `deny`, the default of the rest; or `allow`.
    /// A replica that has not reached the store yet has no share of what is for longer than a minute.
    #[serde(default)]
    pub(crate) on_unavailable: Option<WhenUnavailable>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LimitScope {
    Tenant,
    Role,
    User,
    Token,
    Model,
    Credential,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LimitMeasure {
    Requests,
    Tokens,
    InputTokens,
    OutputTokens,
    Usd,
    Concurrency,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LimitWindow {
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Total,
}

impl LimitWindow {
    pub(crate) const ALL: [Self; 7] = [
        Self::Second,
        Self::Minute,
        Self::Hour,
        Self::Day,
        Self::Week,
        Self::Month,
        Self::Total,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Second => "second",
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Total => "total",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WhenUnavailable {
    LocalShare,
    Deny,
    Allow,
}

/// `{requests_per_minute: 60, usd_per_month: 200, concurrency: 8}`.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct LimitMap(BTreeMap<String, Amount>);

/// A key that a [`LimitMap`] may have.
pub(crate) struct LimitKey {
    pub(crate) name: String,
    pub(crate) measure: LimitMeasure,
    /// None for concurrency.
    pub(crate) window: Option<LimitWindow>,
}

impl LimitMap {
    /// What is written, the shortest windows first.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (LimitKey, &Amount)> {
        keys().filter_map(|key| self.0.get(&key.name).map(|amount| (key, amount)))
    }
}

fn keys() -> impl Iterator<Item = LimitKey> {
    const MEASURES: [(LimitMeasure, &str); 5] = [
        (LimitMeasure::Requests, "requests"),
        (LimitMeasure::Tokens, "tokens"),
        (LimitMeasure::InputTokens, "input_tokens"),
        (LimitMeasure::OutputTokens, "output_tokens"),
        (LimitMeasure::Usd, "usd"),
    ];
    let concurrency = LimitKey {
        name: "concurrency".to_owned(),
        measure: LimitMeasure::Concurrency,
        window: None,
    };
    let windows = LimitWindow::ALL.into_iter();
    let rest = windows.flat_map(|window| {
        MEASURES.map(|(measure, word)| {
            let per = match window {
                LimitWindow::Total => "",
                _ => "per_",
            };
            LimitKey {
                name: format!("{word}_{per}{}", window.as_str()),
                measure,
                window: Some(window),
            }
        })
    });
    std::iter::once(concurrency).chain(rest)
}

impl JsonSchema for LimitMap {
    fn schema_name() -> Cow<'static, str> {
        "LimitMap".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let dollars = generator.subschema_for::<Amount>().to_value();
        let whole = json!({ "type": "integer", "minimum": 1, "maximum": MOST });
        let of = |key: LimitKey| match key.measure {
            LimitMeasure::Usd => (key.name, dollars.clone()),
            _ => (key.name, whole.clone()),
        };
        let properties: Map<String, Value> = keys().map(of).collect();
        json_schema!({
            "type": "object",
            "properties": properties,
            "additionalProperties": false,
        })
    }
}

/// What a credential may do at most, whoever calls.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Caps {
    /// Calls that run at the same time; the default is any number.
    #[schemars(range(min = 1, max = 9_007_199_254_740_992_u64))]
    pub(crate) concurrency: Option<u64>,
    /// The default is any number.
    #[schemars(range(min = 1, max = 9_007_199_254_740_992_u64))]
    pub(crate) requests_per_minute: Option<u64>,
    /// Input and output; the default is any number.
    #[schemars(range(min = 1, max = 9_007_199_254_740_992_u64))]
    pub(crate) tokens_per_minute: Option<u64>,
}

/// The status with which a call is refused when a limit of an hour or longer is spent.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct SpentStatus(pub(crate) u16);

impl Default for SpentStatus {
    fn default() -> Self {
        Self(403)
    }
}

impl JsonSchema for SpentStatus {
    fn schema_name() -> Cow<'static, str> {
        "SpentStatus".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "enum": [403, 402, 429] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_says_its_measure_and_its_window() {
        let names: Vec<String> = keys().map(|key| key.name).collect();
        assert_eq!(names.len(), 36);
        for name in [
            "concurrency",
            "requests_per_second",
            "tokens_per_minute",
            "input_tokens_per_day",
            "output_tokens_per_week",
            "usd_per_month",
            "requests_total",
            "usd_total",
        ] {
            assert!(names.iter().any(|known| known == name), "{name}");
        }
    }
}
