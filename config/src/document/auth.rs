//! The section `auth`: where credentials are, which is next, and what becomes of one that fails.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::{SecretOrNone, SecretText, Span, SpanOrOff, Strategy};

/// How upstream credentials are used.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Auth {
    /// The directory of credential files, relative to this file; `~` is the home directory. The
    /// default is `auths`. It need not exist.
    pub(crate) dir: Option<String>,
    /// Refuse credential files that others than their owner can read, in place of a warning.
    pub(crate) require_private_files: bool,
    /// Which credential is next among those of one priority; the default is `round_robin`.
    pub(crate) selection_strategy: Option<Strategy>,
    pub(crate) session_affinity: SessionAffinity,
    pub(crate) quota: Quota,
    pub(crate) cooldown: Cooldown,
    pub(crate) encryption: Encryption,
}

/// Whether secrets that the gateway keeps are encrypted with a key of the operator's.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Encryption {
    /// Encrypt the credential files that the gateway writes, and the secrets in the store.
    pub(crate) enabled: bool,
    /// 32 bytes: as they are, 64 hexadecimal digits, or 44 characters of Base64. Empty = none.
    pub(crate) key: SecretOrNone,
    /// Keys of before, which still open what they encrypted.
    pub(crate) previous_keys: Vec<SecretText>,
}

/// Whether the requests of one session go to one credential.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SessionAffinity {
    pub(crate) enabled: bool,
    /// How long after its last request a session is remembered.
    pub(crate) ttl: Span,
}

impl Default for SessionAffinity {
    fn default() -> Self {
        Self {
            enabled: false,
            ttl: Span::seconds(60 * 60),
        }
    }
}

/// When the quotas of credentials start anew.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Quota {
    pub(crate) reset_schedule: ResetSchedule,
    /// The time zone of the schedules, an IANA name such as `Europe/Berlin`.
    pub(crate) zone: String,
}

impl Default for Quota {
    fn default() -> Self {
        Self {
            reset_schedule: ResetSchedule::default(),
            zone: "UTC".into(),
        }
    }
}

/// By the name of a provider, or its kind: `daily`, `weekly`, `monthly`, `never`, or a cron
/// expression of five fields in quotes. What is written adds to the defaults; providers that are in
/// neither start anew `monthly`.
#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
pub(crate) struct ResetSchedule(pub(crate) BTreeMap<String, String>);

impl Default for ResetSchedule {
    fn default() -> Self {
        let defaults = [
            ("claude", "monthly"),
            ("gemini", "daily"),
            ("openai", "monthly"),
        ];
        Self(BTreeMap::from(
            defaults.map(|(name, schedule)| (name.into(), schedule.into())),
        ))
    }
}

impl<'de> Deserialize<'de> for ResetSchedule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut schedules = Self::default();
        schedules.0.extend(BTreeMap::deserialize(deserializer)?);
        Ok(schedules)
    }
}

/// How long a credential is left alone after a failure.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Cooldown {
    /// After the first answer that a limit is reached; doubles each time that follows.
    pub(crate) base: Span,
    /// The most that doubling comes to.
    pub(crate) max: Span,
    /// The most that a provider may ask for.
    pub(crate) max_hint: Span,
    /// After 408 and 5xx; -1 = not at all.
    pub(crate) transient: SpanOrOff,
    /// After 401, 402 and 403; -1 = not at all.
    pub(crate) auth: SpanOrOff,
    /// After the answer that there is no such model; -1 = not at all.
    pub(crate) not_found: SpanOrOff,
    /// How often a credential that failed otherwise than by a limit is asked whether it works again.
    pub(crate) probe_interval: Span,
}

impl Default for Cooldown {
    fn default() -> Self {
        Self {
            base: Span::seconds(1),
            max: Span::seconds(30 * 60),
            max_hint: Span::seconds(6 * 60 * 60),
            transient: SpanOrOff::seconds(60),
            auth: SpanOrOff::seconds(30 * 60),
            not_found: SpanOrOff::seconds(12 * 60 * 60),
            probe_interval: Span::seconds(10),
        }
    }
}
