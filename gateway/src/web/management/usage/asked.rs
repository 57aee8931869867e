//! What a report is to have.

use std::collections::BTreeSet;

use http::HeaderMap;
use http::header::ACCEPT;
use jiff::civil::Date;
use jiff::{Timestamp, tz::TimeZone};
use serde::Deserialize;

use super::super::refusal::Refused;
use super::groups::{By, Dimension};

/// Days of one report: ten years.
const LONGEST: i32 = 3_660;

/// Days of one that does not say which.
const USUAL: i32 = 30;

/// The query as it was sent.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Asked {
    from: Option<String>,
    to: Option<String>,
    by: Option<String>,
    tenant: Option<String>,
    team: Option<String>,
    user: Option<String>,
    token: Option<String>,
    model: Option<String>,
    credential: Option<String>,
    format: Option<String>,
}

/// The query as it is meant.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) from: Date,
    pub(super) to: Date,
    pub(super) by: By,
    pub(super) only: Only,
    pub(super) format: Format,
}

/// Of what alone the report is.
#[derive(Clone, Debug, Default)]
pub(super) struct Only {
    /// The tenant whose operator asks, who is told of no other.
    pub(super) within: Option<String>,
    pub(super) tenant: Option<String>,
    pub(super) team: Option<String>,
    /// A digest, or a name.
    pub(super) user: Option<String>,
    pub(super) token: Option<String>,
    pub(super) model: Option<String>,
    pub(super) credential: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Csv,
}

impl Asked {
    /// `now` is milliseconds since 1970.
    pub(super) fn wanted(self, headers: &HeaderMap, now: u64) -> Result<Wanted, Refused> {
        let to = date("to", self.to)?.unwrap_or_else(|| today(now));
        let from = match date("from", self.from)? {
            Some(from) => from,
            None => to.saturating_sub(jiff::Span::new().days(USUAL - 1)),
        };
        let days = (to - from).get_days();
        if days < 0 {
            return Err(Refused::Body("`from` is after `to`".into()));
        }
        if days >= LONGEST {
            let message = format!("a report has {LONGEST} days at most");
            return Err(Refused::Body(message));
        }
        Ok(Wanted {
            from,
            to,
            by: by(self.by.as_deref().unwrap_or("day"))?,
            only: Only {
                within: None,
                tenant: self.tenant,
                team: self.team,
                user: self.user,
                token: self.token,
                model: self.model,
                credential: self.credential,
            },
            format: format(self.format.as_deref(), headers)?,
        })
    }
}

impl Wanted {
    pub(super) fn needs_people(&self) -> bool {
        self.by.has(Dimension::User) || self.only.user.is_some()
    }

    pub(super) fn needs_tokens(&self) -> bool {
        self.by.has(Dimension::Token)
    }

    /// The days, counted from 1970 on.
    pub(super) fn days(&self) -> (u32, u32) {
        let number = |date: Date| {
            let days = (date - Date::constant(1970, 1, 1)).get_days();
            u32::try_from(days).unwrap_or(0)
        };
        (number(self.from), number(self.to))
    }
}

fn today(now: u64) -> Date {
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    let now = Timestamp::from_millisecond(now).unwrap_or(Timestamp::MAX);
    now.to_zoned(TimeZone::UTC).date()
}

fn date(name: &str, text: Option<String>) -> Result<Option<Date>, Refused> {
    let Some(text) = text else {
        return Ok(None);
    };
    let is_plain = text.len() == 10 && text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    let date: Option<Date> = text.parse().ok().filter(|_| is_plain);
    // No day is before the first.
    let date = date.filter(|date| date.year() >= 1970);
    let refused = || Refused::Body(format!("`{name}` is no day such as 2026-03-01"));
    date.map(Some).ok_or_else(refused)
}

fn by(text: &str) -> Result<By, Refused> {
    let words: BTreeSet<&str> = text.split(',').filter(|word| !word.is_empty()).collect();
    let known = |word: &&str| Dimension::ALL.iter().any(|one| one.word() == *word);
    if !words.iter().all(known) {
        let all = Dimension::ALL.map(Dimension::word).join(", ");
        return Err(Refused::Body(format!(
            "`by` has some of {all}, with commas"
        )));
    }
    Ok(By::of(|dimension| words.contains(dimension.word())))
}

fn format(text: Option<&str>, headers: &HeaderMap) -> Result<Format, Refused> {
    match text {
        Some("json") => Ok(Format::Json),
        Some("csv") => Ok(Format::Csv),
        Some(_) => Err(Refused::Body("`format` is json or csv".into())),
        None => {
            let accepted = headers.get_all(ACCEPT).iter();
            let mut accepted = accepted.filter_map(|value| value.to_str().ok());
            let wants_csv = |value: &str| {
                let mut kinds = value.split(',').map(|kind| kind.split(';').next());
                kinds.any(|kind| kind.is_some_and(|kind| kind.trim() == "text/csv"))
            };
            Ok(match accepted.any(wants_csv) {
                true => Format::Csv,
                false => Format::Json,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    /// 2026-03-01T12:00:00Z.
    const NOON: u64 = 1_772_366_400_000;

    fn wanted(asked: Asked) -> Result<Wanted, String> {
        let wanted = asked.wanted(&HeaderMap::new(), NOON);
        wanted.map_err(|refused| refused.to_string())
    }

    #[test]
    fn what_is_left_out_is_the_last_thirty_days() {
        let usual = wanted(Asked::default()).unwrap();
        assert_eq!(usual.from.to_string(), "2026-01-31");
        assert_eq!(usual.to.to_string(), "2026-03-01");
        assert_eq!(usual.days(), (20_484, 20_513));
        assert_eq!(usual.by.words(), ["day"]);
        assert_eq!(usual.format, Format::Json);
    }

    #[test]
    fn what_is_meant_by_nothing_is_refused() {
        let from = |text: &str| Asked {
            from: Some(text.into()),
            ..Asked::default()
        };
        for text in ["", "yesterday", "2026-02-30", "2026-03-02", "1969-12-31"] {
            assert!(wanted(from(text)).is_err(), "{text}");
        }
        assert!(wanted(from("2016-02-23")).is_ok());
        assert!(wanted(from("2016-02-20")).unwrap_err().contains("3660"));
        for text in ["dya", "day,", "model,user", ",", "DAY"] {
            let asked = Asked {
                by: Some(text.into()),
                ..Asked::default()
            };
            let is_good = !["dya", "DAY"].contains(&text);
            assert_eq!(wanted(asked).is_ok(), is_good, "{text}");
        }
        let xml = Asked {
            format: Some("xml".into()),
            ..Asked::default()
        };
        assert!(wanted(xml).is_err());
    }

    #[test]
    fn the_format_is_as_it_is_accepted() {
        for (accept, found) in [
            ("text/csv", Format::Csv),
            (
                "application/json;q=0.5, text/csv; header=present",
                Format::Csv,
            ),
            ("application/json", Format::Json),
            ("*/*", Format::Json),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_static(accept));
            assert_eq!(format(None, &headers).unwrap(), found, "{accept}");
            assert_eq!(format(Some("json"), &headers).unwrap(), Format::Json);
        }
    }
}
