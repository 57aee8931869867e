//! When a token ends, in any of the ways that tools write it.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::Value;

use super::FileError;
use super::document::Fields;

/// The keys it is written at. `expires_in` is none of them: nothing says from when it counts.
const KEYS: [&str; 4] = ["expiry", "expired", "expires_at", "expiry_date"];

const EXPECTED: &str = "expected a time such as 2026-01-02T03:04:05Z, or seconds or milliseconds \
                        since 1970";

/// More than this many seconds since 1970 is the year 5138, so it is milliseconds: since 1973.
const MOST_SECONDS: f64 = 1e11;

/// The end of the year 9999, in milliseconds since 1970.
const LAST: f64 = 253_402_300_799_999.0;

/// 0002-01-01T00:00:00Z.
const YEAR_TWO: Timestamp = Timestamp::constant(-62_104_060_800, 0);

/// Milliseconds since 1970; `None` when the file does not say, or says that it never ends.
pub(super) fn expires_at(fields: &Fields<'_>) -> Result<Option<u64>, FileError> {
    for key in KEYS {
        if fields.has(key) {
            return read(fields.value(key)).map_err(|what| fields.wrong(key, what));
        }
    }
    Ok(None)
}

fn read(value: Option<&Value>) -> Result<Option<u64>, &'static str> {
    match value {
        None => Ok(None),
        Some(Value::Number(number)) => from_epoch(number.as_f64().ok_or(EXPECTED)?),
        Some(Value::String(text)) => from_text(text.trim()),
        Some(_) => Err(EXPECTED),
    }
}

/// Zero is "not known", as some tools write it. Fractions come from languages whose clock counts
/// seconds as floating-point numbers.
fn from_epoch(number: f64) -> Result<Option<u64>, &'static str> {
    let millis = match number > MOST_SECONDS {
        true => number,
        false => number * 1000.0,
    };
    match millis {
        0.0 => Ok(None),
        millis if millis > 0.0 && millis <= LAST => Ok(Some(millis as u64)),
        _ => Err(EXPECTED),
    }
}

fn from_text(text: &str) -> Result<Option<u64>, &'static str> {
    if text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.')
    {
        return from_epoch(text.parse().map_err(|_| EXPECTED)?);
    }
    let time = time(text).ok_or(EXPECTED)?;
    // Year 1 is the zero of Go's clock: no time at all.
    if time < YEAR_TWO {
        return Ok(None);
    }
    u64::try_from(time.as_millisecond())
        .map(Some)
        .map_err(|_| EXPECTED)
}

/// RFC 3339 and its kin: with a blank for the `T`, an offset without a colon, `UTC` behind it, or
/// no offset at all, which is read as UTC: the tools that write none mean it.
fn time(text: &str) -> Option<Timestamp> {
    // A day alone would be read as its midnight.
    if !text.contains(':') {
        return None;
    }
    let text = text.strip_suffix("UTC").unwrap_or(text).trim_end();
    // A blank before the offset, as Go prints it.
    let text = text.replacen(" +", "+", 1).replacen(" -", "-", 1);
    text.parse().ok().or_else(|| {
        let without_offset: DateTime = text.parse().ok()?;
        without_offset
            .to_zoned(TimeZone::UTC)
            .ok()
            .map(Timestamp::from)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// 2026-01-02 03:04:05 UTC.
    const THEN: u64 = 1_767_323_045_000;

    fn of(value: Value) -> Result<Option<u64>, &'static str> {
        read(Some(&value))
    }

    #[test]
    fn every_way_to_write_a_time_is_read() {
        for value in [
            json!("2026-01-02T03:04:05Z"),
            json!("2026-01-02T03:04:05+00:00"),
            json!("2026-01-02T08:34:05+05:30"),
            json!("2026-01-01T20:04:05-07:00"),
            json!("2026-01-02T03:04:05"),
            json!("2026-01-02 03:04:05"),
            json!("2026-01-02 03:04:05Z"),
            json!("2026-01-02 03:04:05 +0000 UTC"),
            json!("2026-01-02 04:04:05+0100"),
            json!("2026-01-02 04:04:05 +01"),
            json!("2026-01-02 03:04:05 UTC"),
            json!(1_767_323_045),
            json!("1767323045"),
            json!(1_767_323_045_000_u64),
            json!("1767323045000"),
        ] {
            assert_eq!(of(value.clone()), Ok(Some(THEN)), "{value}");
        }
        assert_eq!(of(json!("2026-01-02T03:04:05.25Z")), Ok(Some(THEN + 250)));
        assert_eq!(of(json!("2026-01-02 03:04:05.25")), Ok(Some(THEN + 250)));
        assert_eq!(of(json!(1_767_323_045.25)), Ok(Some(THEN + 250)));
    }

    #[test]
    fn what_means_no_time_is_none() {
        for value in [json!(0), json!("0"), json!("0001-01-01T00:00:00Z")] {
            assert_eq!(of(value.clone()), Ok(None), "{value}");
        }
    }

    #[test]
    fn what_could_mean_several_times_is_refused() {
        for value in [
            json!("01/02/2026"),
            json!("2026-01-02"),
            json!("tomorrow"),
            json!("2026-13-02T03:04:05Z"),
            json!("1969-12-31T23:59:59Z"),
            json!(-5),
            json!("1e9"),
            json!("1.2.3"),
            json!("."),
            json!(1_767_323_045_000_000_000_u64),
            json!(true),
            json!(["2026-01-02T03:04:05Z"]),
        ] {
            assert_eq!(of(value.clone()), Err(EXPECTED), "{value}");
        }
    }

    #[test]
    fn seconds_and_milliseconds_part_at_ten_to_the_eleventh() {
        assert_eq!(
            of(json!(100_000_000_000_u64)),
            Ok(Some(100_000_000_000_000))
        );
        assert_eq!(of(json!(100_000_000_001_u64)), Ok(Some(100_000_000_001)));
    }
}
