//! When a quota starts anew: `auth.quota.reset_schedule`.
//!
//! A schedule is a list of wall-clock times. The cron library finds them on a clock without a zone,
//! and each is then given one instant: the first of two where the clock is put back, the end of
//! the gap where it is put forward. So instants keep the order of the times, an hour that comes
//! twice resets once, and a midnight that does not exist resets all the same. The library's own
//! answers for clocks with a zone promise neither.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use croner::Cron;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};

use crate::nearest::hint;

/// How often a quota is reset, and in which zone.
///
/// Written as `daily`, `weekly` (Monday), `monthly` (the first), each at 00:00, as `never`, or as a
/// cron expression of five fields.
#[derive(Clone)]
pub struct Schedule {
    written: String,
    zone: TimeZone,
    /// `None` = never.
    resets: Option<Arc<Resets>>,
}

/// The times, of a schedule and all its copies.
struct Resets {
    cron: Cron,
    /// The period that was found last. Ten thousand credentials of one provider ask for the same one, and to
    /// find it takes the cron library a while.
    last: Mutex<Option<Period>>,
}

/// The time from one reset to the next, in milliseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// The reset that began it; 0 when there was none since 1970.
    pub start_ms: u64,
    /// The next reset; `None` = there is none.
    pub end_ms: Option<u64>,
}

impl Period {
    const ENDLESS: Self = Self {
        start_ms: 0,
        end_ms: None,
    };

    fn has(&self, now_ms: u64) -> bool {
        self.start_ms <= now_ms && self.end_ms.is_none_or(|end| now_ms < end)
    }
}

impl Schedule {
    /// Reads a schedule; `zone` is an IANA name such as `Europe/Berlin`.
    pub fn parse(written: &str, zone: &str) -> Result<Self, String> {
        let zone = find_zone(zone)?;
        let written = written.trim();
        let resets = match written {
            "never" => None,
            "daily" => Some(cron("0 0 * * *")?),
            "weekly" => Some(cron("0 0 * * MON")?),
            "monthly" => Some(cron("0 0 1 * *")?),
            expression => Some(cron(expression)?),
        };
        Ok(Self {
            written: written.to_owned(),
            zone,
            resets: resets.map(|cron| {
                let last = Mutex::default();
                Arc::new(Resets { cron, last })
            }),
        })
    }

    /// The period that `now_ms` is in: its start is at or before it, its end after it.
    pub fn period(&self, now_ms: u64) -> Period {
        let Some(resets) = self.resets.as_deref() else {
            return Period::ENDLESS;
        };
        let mut last = resets.last.lock().unwrap_or_else(PoisonError::into_inner);
        let known = last.filter(|period| period.has(now_ms));
        let found = known.or_else(|| self.between(&resets.cron, now_ms / 1000));
        *last = found.or(*last);
        // Also in the year 5000, where the cron library ends.
        found.unwrap_or(Period::ENDLESS)
    }

    /// Resets fall on whole seconds, so the fraction of now does not matter.
    fn between(&self, resets: &Cron, now: u64) -> Option<Period> {
        let now = Timestamp::from_second(i64::try_from(now).ok()?).ok()?;
        let local = self.zone.to_datetime(now);
        let mut reset = resets.find_previous_occurrence(&local, true).ok()?;
        let mut start = self.instant(reset)?;
        // While the clock shows an hour for the second time, times that it will show again are past.
        loop {
            reset = resets.find_next_occurrence(&reset, false).ok()?;
            let next = self.instant(reset)?;
            if next > now {
                return Some(Period {
                    start_ms: milliseconds(start),
                    end_ms: Some(milliseconds(next)),
                });
            }
            start = next;
        }
    }

    /// When the zone's clock first shows `local`, or the first time after it.
    fn instant(&self, local: DateTime) -> Option<Timestamp> {
        match self.zone.to_ambiguous_timestamp(local).offset() {
            AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(local).ok(),
            AmbiguousOffset::Fold { before, .. } => before.to_timestamp(local).ok(),
            AmbiguousOffset::Gap { after, .. } => {
                let before_gap = after.to_timestamp(local).ok()?;
                let mut changes = self.zone.following(before_gap);
                changes.next().map(|change| change.timestamp())
            }
        }
    }
}

fn milliseconds(instant: Timestamp) -> u64 {
    u64::try_from(instant.as_millisecond()).unwrap_or(0)
}

/// The bundled zones, whatever the machine has, so that all replicas reset at the same time.
pub(crate) fn find_zone(name: &str) -> Result<TimeZone, String> {
    let zones = TimeZoneDatabase::bundled();
    zones.get(name).map_err(|_| {
        let names: Vec<String> = zones.available().map(|zone| zone.to_string()).collect();
        let hint = hint(name, names.iter().map(String::as_str));
        format!("no time zone is called `{name}`{hint}; write an IANA name such as Europe/Berlin")
    })
}

fn cron(expression: &str) -> Result<Cron, String> {
    // Counted here: the library would also read seconds, years, and words such as `@daily`.
    if expression.split_whitespace().count() != 5 {
        return Err(
            "expected daily, weekly, monthly, never, or a cron expression of five fields \
                    (minute, hour, day, month, weekday)"
                .into(),
        );
    }
    let cron: Cron = expression.parse().map_err(|_| {
        "not a cron expression; its fields are minute (0-59), hour (0-23), day (1-31), month \
         (1-12) and weekday (0-7 or SUN-SAT)"
    })?;
    let some_day = DateTime::constant(2024, 1, 1, 0, 0, 0, 0);
    match cron.find_next_occurrence(&some_day, true) {
        Ok(_) => Ok(cron),
        Err(_) => Err(
            "no date matches this cron expression, so it would never reset; \
                       write `never` if that is meant"
                .into(),
        ),
    }
}

impl PartialEq for Schedule {
    fn eq(&self, other: &Self) -> bool {
        self.written == other.written && self.zone == other.zone
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let zone = self.zone.iana_name().unwrap_or_default();
        write!(f, "{} ({zone})", self.written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(written: &str, zone: &str) -> Schedule {
        Schedule::parse(written, zone).unwrap()
    }

    fn at(instant: &str) -> u64 {
        milliseconds(instant.parse().unwrap())
    }

    /// The period around `now`, as the instants in UTC.
    fn around(schedule: &Schedule, now: &str) -> (String, String) {
        let shown = |ms: u64| {
            let instant = Timestamp::from_millisecond(ms.try_into().unwrap()).unwrap();
            instant.to_string()
        };
        let period = schedule.period(at(now));
        (shown(period.start_ms), shown(period.end_ms.unwrap()))
    }

    #[track_caller]
    fn assert_around(schedule: &Schedule, now: &str, start: &str, end: &str) {
        assert_eq!(
            around(schedule, now),
            (start.into(), end.into()),
            "at {now}"
        );
    }

    /// No reset missed, none doubled, none out of order, however `now` falls.
    #[track_caller]
    fn assert_whole(schedule: &Schedule, now: u64) -> Period {
        let period = anew(schedule, now);
        let end = period.end_ms.unwrap();
        let why = || format!("{schedule:?} at {now}: {period:?}");
        assert!(period.start_ms <= now && now < end, "{}", why());
        assert_eq!(anew(schedule, end).start_ms, end, "{}", why());
        assert_eq!(anew(schedule, end - 1), period, "{}", why());
        assert_eq!(anew(schedule, period.start_ms), period, "{}", why());
        // The same as from what was found before.
        for at in [now, end, end - 1, period.start_ms] {
            assert_eq!(schedule.period(at), anew(schedule, at), "{}", why());
        }
        period
    }

    /// By the cron library, whatever was found before.
    fn anew(schedule: &Schedule, now: u64) -> Period {
        let resets = schedule.resets.as_deref().unwrap();
        schedule.between(&resets.cron, now / 1000).unwrap()
    }

    #[test]
    fn words_are_calendar_periods() {
        let daily = schedule("daily", "UTC");
        let day = ("2025-12-31T00:00:00Z", "2026-01-01T00:00:00Z");
        assert_around(&daily, "2025-12-31T23:59:59.999Z", day.0, day.1);
        assert_around(&daily, "2025-12-31T00:00:00Z", day.0, day.1);
        // 2026-01-01 is a Thursday.
        let week = ("2025-12-29T00:00:00Z", "2026-01-05T00:00:00Z");
        assert_around(
            &schedule("weekly", "UTC"),
            "2026-01-01T12:00:00Z",
            week.0,
            week.1,
        );
        let monthly = schedule("monthly", "UTC");
        for (now, start, end) in [
            (
                "2024-02-29T23:00:00Z",
                "2024-02-01T00:00:00Z",
                "2024-03-01T00:00:00Z",
            ),
            (
                "2025-02-28T23:00:00Z",
                "2025-02-01T00:00:00Z",
                "2025-03-01T00:00:00Z",
            ),
            (
                "2025-04-30T23:00:00Z",
                "2025-04-01T00:00:00Z",
                "2025-05-01T00:00:00Z",
            ),
            (
                "2025-12-31T23:59:59Z",
                "2025-12-01T00:00:00Z",
                "2026-01-01T00:00:00Z",
            ),
        ] {
            assert_around(&monthly, now, start, end);
        }
        let never = schedule("never", "Europe/Berlin");
        assert_eq!(never.period(at("2026-01-01T00:00:00Z")), Period::ENDLESS);
    }

    #[test]
    fn a_zone_moves_the_day() {
        let daily = schedule("daily", "Asia/Kathmandu");
        let day = ("2026-03-09T18:15:00Z", "2026-03-10T18:15:00Z");
        assert_around(&daily, "2026-03-10T18:14:59Z", day.0, day.1);
        let monthly = schedule("monthly", "America/New_York");
        let march = ("2026-03-01T05:00:00Z", "2026-04-01T04:00:00Z");
        assert_around(&monthly, "2026-04-01T03:59:59Z", march.0, march.1);
        let leap = schedule("30 12 29 2 *", "Europe/Berlin");
        let four_years = ("2024-02-29T11:30:00Z", "2028-02-29T11:30:00Z");
        assert_around(&leap, "2026-06-01T00:00:00Z", four_years.0, four_years.1);
    }

    #[test]
    fn a_day_without_midnight_begins_when_the_gap_ends() {
        for (zone, now, start, end) in [
            // 00:00 is 01:00 there.
            (
                "Africa/Cairo",
                "2024-04-26T12:00:00Z",
                "2024-04-25T22:00:00Z",
                "2024-04-26T21:00:00Z",
            ),
            (
                "America/Santiago",
                "2024-09-08T12:00:00Z",
                "2024-09-08T04:00:00Z",
                "2024-09-09T03:00:00Z",
            ),
            (
                "Asia/Beirut",
                "2024-03-31T12:00:00Z",
                "2024-03-30T22:00:00Z",
                "2024-03-31T21:00:00Z",
            ),
            // Samoa had no 30 December 2011 at all: what began on the 29th ends with the 31st's begin.
            (
                "Pacific/Apia",
                "2011-12-30T09:59:59Z",
                "2011-12-29T10:00:00Z",
                "2011-12-30T10:00:00Z",
            ),
        ] {
            let daily = schedule("daily", zone);
            assert_around(&daily, now, start, end);
            assert_whole(&daily, at(now));
        }
        // Two times of one gap are one reset.
        let half_hours = schedule("0,30 2 * * *", "Europe/Berlin");
        let day = ("2024-03-31T01:00:00Z", "2024-04-01T00:00:00Z");
        assert_around(&half_hours, "2024-03-31T05:00:00Z", day.0, day.1);
    }

    #[test]
    fn an_hour_that_comes_twice_resets_once() {
        // Havana goes from 01:00 back to 00:00: midnight comes twice.
        let daily = schedule("daily", "America/Havana");
        let long_day = ("2024-11-03T04:00:00Z", "2024-11-04T05:00:00Z");
        for now in [
            "2024-11-03T04:30:00Z",
            "2024-11-03T05:00:00Z",
            "2024-11-03T05:30:00Z",
        ] {
            assert_around(&daily, now, long_day.0, long_day.1);
        }
        // At 24:00 Cairo goes back to 23:00: the new day begins at the second midnight only.
        let daily = schedule("daily", "Africa/Cairo");
        let long_day = ("2024-10-30T21:00:00Z", "2024-10-31T22:00:00Z");
        assert_around(&daily, "2024-10-31T21:30:00Z", long_day.0, long_day.1);
        let hours = schedule("0 * * * *", "Europe/Berlin");
        let two_hours = ("2024-10-27T00:00:00Z", "2024-10-27T02:00:00Z");
        for now in [
            "2024-10-27T00:10:00Z",
            "2024-10-27T01:00:00Z",
            "2024-10-27T01:50:00Z",
        ] {
            assert_around(&hours, now, two_hours.0, two_hours.1);
        }
        // The clock shows 02:10 again; the reset of 02:40 has been.
        let odd = schedule("40 2 * * *", "Europe/Berlin");
        let day = ("2024-10-27T00:40:00Z", "2024-10-28T01:40:00Z");
        assert_around(&odd, "2024-10-27T01:10:00Z", day.0, day.1);
    }

    #[test]
    fn ten_thousand_periods_follow_one_another() {
        for (written, zone) in [
            ("monthly", "Africa/Cairo"),
            ("daily", "America/Santiago"),
            ("daily", "Asia/Beirut"),
            ("weekly", "America/Havana"),
            ("0 * * * *", "Australia/Lord_Howe"),
            ("*/45 0-3 * * *", "Europe/Berlin"),
            ("0 0 L * *", "Asia/Kathmandu"),
            ("59 23 29-31 * 1-5", "America/St_Johns"),
        ] {
            let schedule = schedule(written, zone);
            let mut now = at("1999-12-01T00:00:00Z");
            let mut previous: Option<Period> = None;
            for _ in 0..10_000 {
                let period = assert_whole(&schedule, now);
                if let Some(previous) = previous {
                    assert_eq!(previous.end_ms, Some(period.start_ms));
                }
                now = period.end_ms.unwrap();
                previous = Some(period);
            }
        }
    }

    #[test]
    fn every_zone_is_whole_around_its_changes() {
        let database = TimeZoneDatabase::bundled();
        let since: Timestamp = "2005-01-01T00:00:00Z".parse().unwrap();
        for name in database.available() {
            let schedules = ["daily", "20 * * * *"].map(|text| schedule(text, name.as_str()));
            let zone = database.get(name.as_str()).unwrap();
            let until: Timestamp = "2045-01-01T00:00:00Z".parse().unwrap();
            for change in zone.following(since).take_while(|c| c.timestamp() < until) {
                let change = milliseconds(change.timestamp());
                for minutes in [-61, -1, 0, 10, 59, 61, 25 * 60] {
                    let now = change.saturating_add_signed(minutes * 60_000);
                    for schedule in &schedules {
                        assert_whole(schedule, now);
                    }
                }
            }
        }
    }

    #[test]
    fn any_time_has_a_period() {
        let daily = schedule("daily", "America/New_York");
        assert_eq!(daily.period(0).start_ms, 0);
        assert_eq!(daily.period(0).end_ms, Some(at("1970-01-01T05:00:00Z")));
        assert_eq!(daily.period(u64::MAX), Period::ENDLESS);
    }

    #[test]
    fn what_is_no_schedule_is_refused() {
        let refused = |written: &str, expected: &str| {
            let error = Schedule::parse(written, "UTC").unwrap_err();
            assert!(error.contains(expected), "{written}: {error}");
        };
        for bad in [
            "",
            "Daily",
            "yearly",
            "@daily",
            "0 0 * *",
            "0 0 0 1 * *",
            "0 0 1 1 * * 2030",
        ] {
            refused(bad, "a cron expression of five fields");
        }
        for bad in [
            "60 0 1 * *",
            "0 24 1 * *",
            "0 0 0 * *",
            "0 0 32 * *",
            "0 0 1 13 *",
            "0 0 * * 8",
            "a b c d e",
            "@daily a b c d",
            "0 0 1-* * *",
            "*/0 * * * *",
            "0 0 1 * 1#6",
        ] {
            refused(bad, "not a cron expression; its fields are minute (0-59)");
        }
        refused("0 0 30 2 *", "no date matches");
        refused("0 0 31 4,6,9,11 *", "no date matches");
    }

    #[test]
    fn a_zone_is_found_by_its_name() {
        assert!(Schedule::parse("daily", "europe/berlin").is_ok());
        let error = Schedule::parse("daily", "Europe/Berlln").unwrap_err();
        assert!(
            error.contains("`Europe/Berlln`, did you mean `Europe/Berlin`"),
            "{error}"
        );
        for bad in ["", "CEST-2", "+02:00", "Local", "../UTC", "Europe"] {
            assert!(Schedule::parse("daily", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn schedules_are_the_same_when_written_the_same() {
        let berlin = schedule(" daily ", "Europe/Berlin");
        assert_eq!(berlin, schedule("daily", "Europe/Berlin"));
        assert_ne!(berlin, schedule("daily", "Europe/Paris"));
        assert_ne!(berlin, schedule("0 0 * * *", "Europe/Berlin"));
        assert_eq!(
            format!("{berlin} {berlin:?}"),
            "daily daily (Europe/Berlin)"
        );
    }
}
