//! Values with a notation of their own: durations, sizes, secrets, proxies.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use bytesize::ByteSize;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use turnpike_api::Secret;

use super::amount::{Amount, DECIMAL};

/// Every `format` that the schema of a text may carry, and how to tell whether a text fits it.
/// Secrets are looked at after their reference is resolved.
pub(crate) const TEXT_FORMATS: &[(&str, Fits)] = &[
    (DURATION, |text| parse_duration(text).map(drop)),
    (DURATION_OR_OFF, |text| parse_span_or_off(text).map(drop)),
    (SIZE, |text| parse_size(text).map(drop)),
    (DECIMAL, |text| Amount::parse(text).map(drop)),
    (SECRET, |_| Ok(())),
    (SECRET_OR_NONE, |_| Ok(())),
    (PROXY, |_| Ok(())),
    (REFERENCE, |_| Ok(())),
];

type Fits = fn(&str) -> Result<(), String>;

const DURATION: &str = "human-duration";
const DURATION_OR_OFF: &str = "human-duration-or-off";
const SIZE: &str = "byte-size";
const SECRET: &str = "secret";
const SECRET_OR_NONE: &str = "secret-or-empty";
const PROXY: &str = "proxy-url";
const REFERENCE: &str = "text-or-reference";

/// Whether a text of this format may be `${NAME}` or `file:path`.
pub(crate) fn may_be_reference(format: &str) -> bool {
    matches!(format, SECRET | SECRET_OR_NONE | PROXY | REFERENCE)
}

/// Whether a text of this format may be empty, which asks for nothing.
pub(crate) fn may_be_empty(format: &str) -> bool {
    format == SECRET_OR_NONE
}

/// A length of time, `50ms`, `5m`, `24h`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span(pub(crate) Duration);

impl Span {
    pub(crate) const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

/// Longer than any wait that is meant, and short enough to be added to any point in time.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 60 * 60);

fn parse_duration(text: &str) -> Result<Duration, String> {
    let expected = || String::from("expected a duration such as 500ms, 30s or 5m");
    let duration = humantime::parse_duration(text).map_err(|_| expected())?;
    if duration.is_zero() {
        return Err(String::from("expected a duration longer than zero"));
    }
    if duration > LONGEST {
        return Err(String::from("expected at most 7d"));
    }
    Ok(duration)
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

/// A length of time, or `-1` for off.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct SpanOrOff(pub(crate) Option<Duration>);

impl SpanOrOff {
    pub(crate) const fn seconds(seconds: u64) -> Self {
        Self(Some(Duration::from_secs(seconds)))
    }
}

fn parse_span_or_off(text: &str) -> Result<Option<Duration>, String> {
    if text == "-1" {
        return Ok(None);
    }
    let or_off = |message: String| format!("{message}, or -1 for off");
    parse_duration(text).map(Some).map_err(or_off)
}

impl fmt::Display for SpanOrOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(duration) => Span(duration).fmt(f),
            None => f.write_str("-1"),
        }
    }
}

/// A number of bytes, `32MiB`, `1GiB`; a bare number counts bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Size(pub(crate) u64);

/// As `ByteSize` reads it, but exactly: it rounds fractions, and saturates.
fn parse_size(text: &str) -> Result<u64, String> {
    let expected = || String::from("expected a size such as 512KiB or 32MiB");
    let unit_at = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let ByteSize(factor) = format!("1{unit}").parse().map_err(|_| expected())?;
    let digits: u64 = format!("{whole}{fraction}")
        .parse()
        .map_err(|_| expected())?;
    let scale = 10_u128
        .checked_pow(fraction.len() as u32)
        .ok_or_else(expected)?;
    let scaled = u128::from(digits) * u128::from(factor);
    if scaled % scale != 0 {
        return Err(String::from("expected a whole number of bytes"));
    }
    u64::try_from(scaled / scale).map_err(|_| String::from("larger than any memory"))
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = [(30, "GiB"), (20, "MiB"), (10, "KiB")]
            .into_iter()
            .find(|(bits, _)| self.0 > 0 && self.0.trailing_zeros() >= *bits);
        match exact {
            Some((bits, unit)) => write!(f, "{}{unit}", self.0 >> bits),
            None => write!(f, "{}B", self.0),
        }
    }
}

/// A secret: itself in the file, `${NAME}` of the environment, or `file:path`. Resolved before the
/// document is made; shown only masked.
#[derive(Clone)]
pub(crate) struct SecretText(pub(crate) Secret);

impl fmt::Display for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "***{}", self.0.tail())
    }
}

/// The same, or the empty text for none.
#[derive(Clone, Default)]
pub(crate) struct SecretOrNone(pub(crate) Option<Secret>);

impl fmt::Display for SecretOrNone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secret = self.0.as_ref();
        secret.map_or(Ok(()), |secret| write!(f, "***{}", secret.tail()))
    }
}

/// A text that is no secret and may be written elsewhere, as one may.
#[derive(Clone)]
pub(crate) struct ReferenceText(pub(crate) String);

impl fmt::Display for ReferenceText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The URL of a proxy, which may hold a password, or `direct`.
#[derive(Clone)]
pub(crate) struct ProxyText(pub(crate) Secret);

impl fmt::Display for ProxyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.expose();
        match (text.rfind('@'), text.find("://")) {
            (None, _) => f.write_str(text),
            (Some(at), Some(scheme)) if scheme < at => {
                write!(f, "{}://***{}", &text[..scheme], &text[at..])
            }
            (Some(at), _) => write!(f, "***{}", &text[at..]),
        }
    }
}

/// A type that is written as a text of one format.
macro_rules! written_as_text {
    ($type:ident, $types:tt, $format:expr, $read:expr) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                let read: fn(String) -> Result<Self, String> = $read;
                read(text).map_err(de::Error::custom)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": $types, "format": $format })
            }
        }
    };
}

written_as_text!(Span, "string", DURATION, |text| parse_duration(&text)
    .map(Self));
written_as_text!(SpanOrOff, ["string", "integer"], DURATION_OR_OFF, |text| {
    parse_span_or_off(&text).map(Self)
});
written_as_text!(Size, ["string", "integer"], SIZE, |text| parse_size(&text)
    .map(Self));
written_as_text!(SecretText, "string", SECRET, |text| Ok(Self(Secret::new(
    text
))));
written_as_text!(SecretOrNone, "string", SECRET_OR_NONE, |text| {
    let secret = Some(text).filter(|text| !text.is_empty());
    Ok(Self(secret.map(Secret::new)))
});
written_as_text!(ReferenceText, "string", REFERENCE, |text| Ok(Self(text)));
written_as_text!(ProxyText, "string", PROXY, |text| Ok(Self(Secret::new(
    text
))));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_exact() {
        assert_eq!(parse_size("32MiB"), Ok(32 << 20));
        assert_eq!(parse_size("1.5KiB"), Ok(1536));
        assert_eq!(parse_size("2MB"), Ok(2_000_000));
        assert_eq!(parse_size("512"), Ok(512));
        for bad in [
            "",
            "MiB",
            "1.3KiB",
            "-1",
            "32 lemons",
            "99999999EiB",
            ".",
            "1.2.3KiB",
        ] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
        assert_eq!(Size(32 << 20).to_string(), "32MiB");
        assert_eq!(Size(1_000).to_string(), "1000B");
    }

    #[test]
    fn durations_are_bounded() {
        assert_eq!(parse_duration("7d"), Ok(LONGEST));
        assert_eq!(parse_duration("1ms"), Ok(Duration::from_millis(1)));
        for bad in [
            "0s",
            "7d 1ns",
            "5000000000000000h",
            "99999999999999999999h",
            "1",
        ] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_duration_may_be_switched_off_where_that_is_allowed() {
        assert_eq!(parse_span_or_off("-1"), Ok(None));
        let minute = parse_span_or_off("60s");
        assert_eq!(minute, Ok(Some(Duration::from_secs(60))));
        for bad in ["0", "-2", "1", "0s", "off", "8d"] {
            let message = parse_span_or_off(bad).unwrap_err();
            assert!(message.ends_with("or -1 for off"), "{bad}: {message}");
        }
        assert_eq!(SpanOrOff(None).to_string(), "-1");
        assert_eq!(SpanOrOff::seconds(60).to_string(), "1m");
    }

    #[test]
    fn a_proxys_password_is_masked() {
        let shown = |text: &str| ProxyText(Secret::new(text)).to_string();
        assert_eq!(shown("http://u:p@ss@proxy:1"), "http://***@proxy:1");
        assert_eq!(shown("u:p@proxy:1"), "***@proxy:1");
        assert_eq!(shown("direct"), "direct");
    }
}
