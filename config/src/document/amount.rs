//! Numbers that must not be rounded: limits and prices.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::tree::shown;

/// The `format` of an amount in the schema.
pub(crate) const DECIMAL: &str = "decimal";

/// What every store and script still counts exactly.
pub(crate) const MOST: u64 = 1 << 53;

/// A number as it was written, `200` or `0.05`: a float in between would round it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Amount(String);

/// Why an amount is no number of units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// It has parts that are smaller than a unit.
    TooFine,
    /// More than [`MOST`].
    TooMuch,
}

impl Amount {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if digits(whole) && digits(fraction) && !whole.is_empty() && !fraction.is_empty() {
            return Ok(Self(text.to_owned()));
        }
        let found = shown(text);
        Err(format!(
            "expected a number in digits, such as 200 or 0.5, found {found}"
        ))
    }

    /// One that is written here.
    pub(crate) fn of(written: &'static str) -> Self {
        Self(written.to_owned())
    }

    /// How many units it is, of which 10 to the power of `places` make one.
    pub(crate) fn units(&self, places: usize) -> Result<u64, Unfit> {
        let (whole, fraction) = self.0.split_once('.').unwrap_or((&self.0, ""));
        let fraction = fraction.trim_end_matches('0');
        if fraction.len() > places {
            return Err(Unfit::TooFine);
        }
        let units = format!("{whole}{fraction:0<places$}").parse();
        let units = units.ok().filter(|units| *units <= MOST);
        units.ok_or(Unfit::TooMuch)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.parse::<u64>() {
            Ok(whole) => serializer.serialize_u64(whole),
            Err(_) => serializer.serialize_str(&self.0),
        }
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Whole(u64),
            Text(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Whole(number) => Ok(Self(number.to_string())),
            Written::Text(text) => Self::parse(&text).map_err(de::Error::custom),
        }
    }
}

impl JsonSchema for Amount {
    fn schema_name() -> Cow<'static, str> {
        "Amount".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "number"], "format": DECIMAL })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn units(text: &str, places: usize) -> Result<u64, Unfit> {
        Amount::parse(text).unwrap().units(places)
    }

    #[test]
    fn nothing_is_rounded() {
        for (text, expected) in [
            ("0.000001", Ok(1)),
            ("0.1", Ok(100_000)),
            ("4.35", Ok(4_350_000)),
            ("200", Ok(200_000_000)),
            ("5000.00", Ok(5_000_000_000)),
            ("1.10000000", Ok(1_100_000)),
            ("0", Ok(0)),
            ("0.0000001", Err(Unfit::TooFine)),
            ("9007199254.740992", Ok(MOST)),
            ("9007199254.740993", Err(Unfit::TooMuch)),
            ("99999999999999999999999999", Err(Unfit::TooMuch)),
        ] {
            assert_eq!(units(text, 6), expected, "{text}");
        }
        assert_eq!(units("9007199254740992", 0), Ok(MOST));
        assert_eq!(units("9007199254740993", 0), Err(Unfit::TooMuch));
        assert_eq!(units("60.0", 0), Ok(60));
        assert_eq!(units("60.5", 0), Err(Unfit::TooFine));
    }

    #[test]
    fn what_is_no_number_in_digits_is_refused() {
        for bad in [
            "", ".", "1.", ".5", "-1", "+1", "1e3", ".nan", ".inf", "NaN", "1_000", "1,5", "0x10",
            "$5", "5 USD", "1.2.3", "٣",
        ] {
            assert!(Amount::parse(bad).is_err(), "{bad}");
        }
    }
}
