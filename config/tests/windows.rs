//! The windows of limits: one reset each, none missed, whatever the zone's clock does.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use turnpike_api::{Calendar, Period, Window};
use turnpike_config::{Environment, Kinds, load_str};

/// The calendar that a limit over `window` counts by.
fn calendar(window: &str, zone: &str) -> Arc<dyn Calendar> {
    let zone = match window {
        "minute" => String::new(),
        _ => format!(", zone: {zone}"),
    };
    let text =
        format!("limits: [{{scope: user, measure: requests, window: {window}, limit: 1{zone}}}]");
    let kinds = Kinds { providers: &[] };
    let environment = Environment::from_pairs::<&str, &str>([]);
    let plan = match load_str(&text, Path::new("conf"), &environment, &kinds) {
        Ok(plan) => plan,
        Err(problems) => panic!("{problems}"),
    };
    match &plan.limits[0].window {
        Window::Calendar(name, calendar) if *name == window => calendar.clone(),
        other => panic!("{other:?}"),
    }
}

fn at(instant: &str) -> u64 {
    let instant: Timestamp = instant.parse().unwrap();
    instant.as_millisecond().try_into().unwrap()
}

/// The period of `now`; every moment of it says the same.
#[track_caller]
fn whole(calendar: &dyn Calendar, now: u64) -> Period {
    let period = calendar.period(now);
    assert!(period.contains(now), "{period:?} at {now}");
    for other in [
        period.start,
        period.start.midpoint(period.end),
        period.end - 1,
    ] {
        assert_eq!(calendar.period(other), period, "at {now} and {other}");
    }
    period
}

#[test]
fn windows_begin_where_the_clock_of_the_zone_says() {
    for (window, zone, now, start, end) in [
        (
            "minute",
            "UTC",
            "2026-03-01T12:34:56.789Z",
            "2026-03-01T12:34:00Z",
            "2026-03-01T12:35:00Z",
        ),
        (
            "hour",
            "Asia/Kathmandu",
            "2026-03-01T12:34:56Z",
            "2026-03-01T12:15:00Z",
            "2026-03-01T13:15:00Z",
        ),
        // A leap day, and the month that has it.
        (
            "day",
            "UTC",
            "2028-02-29T23:59:59.999Z",
            "2028-02-29T00:00:00Z",
            "2028-03-01T00:00:00Z",
        ),
        (
            "month",
            "UTC",
            "2028-02-29T23:59:59.999Z",
            "2028-02-01T00:00:00Z",
            "2028-03-01T00:00:00Z",
        ),
        (
            "month",
            "UTC",
            "2027-02-28T12:00:00Z",
            "2027-02-01T00:00:00Z",
            "2027-03-01T00:00:00Z",
        ),
        // Weeks begin on Monday.
        (
            "week",
            "UTC",
            "2026-11-22T12:00:00Z",
            "2026-11-16T00:00:00Z",
            "2026-11-23T00:00:00Z",
        ),
        // Days of 23 and 25 hours, and of half an hour less.
        (
            "day",
            "Europe/Berlin",
            "2026-03-29T12:00:00Z",
            "2026-03-28T23:00:00Z",
            "2026-03-29T22:00:00Z",
        ),
        (
            "day",
            "Europe/Berlin",
            "2026-10-25T12:00:00Z",
            "2026-10-24T22:00:00Z",
            "2026-10-25T23:00:00Z",
        ),
        (
            "day",
            "Australia/Lord_Howe",
            "2026-10-04T00:00:00Z",
            "2026-10-03T13:30:00Z",
            "2026-10-04T13:00:00Z",
        ),
        // The hour that comes twice is one of two hours.
        (
            "hour",
            "Europe/Berlin",
            "2026-10-25T01:30:00Z",
            "2026-10-25T00:00:00Z",
            "2026-10-25T02:00:00Z",
        ),
        // Samoa had no 30 December 2011.
        (
            "day",
            "Pacific/Apia",
            "2011-12-30T11:00:00Z",
            "2011-12-30T10:00:00Z",
            "2011-12-31T10:00:00Z",
        ),
        // The clock is put forward at midnight: this day begins at one.
        (
            "day",
            "America/Santiago",
            "2024-09-08T12:00:00Z",
            "2024-09-08T04:00:00Z",
            "2024-09-09T03:00:00Z",
        ),
    ] {
        let found = whole(&*calendar(window, zone), at(now));
        let expected = Period {
            start: at(start),
            end: at(end),
        };
        assert_eq!(found, expected, "{window} of {zone} at {now}");
    }
}

#[test]
fn periods_follow_one_another_where_clocks_change() {
    for zone in [
        "Europe/Berlin",
        "Australia/Lord_Howe",
        "Pacific/Apia",
        "Africa/Cairo",
        "America/Havana",
    ] {
        for (window, periods) in [
            ("hour", 26_000),
            ("day", 1_200),
            ("week", 170),
            ("month", 40),
        ] {
            let calendar = calendar(window, zone);
            // Over the day that Samoa left out, and three years more.
            let mut previous = calendar.period(at("2011-12-01T00:00:00Z"));
            for _ in 0..periods {
                let next = calendar.period(previous.end);
                assert_eq!(next.start, previous.end, "{window} of {zone}");
                assert!(next.end > next.start, "{window} of {zone}");
                previous = next;
            }
        }
    }
}

/// When a month begins by another library's reckoning.
fn first_of(year: i16, month: i8, zone: &TimeZone) -> u64 {
    let first = Date::new(year, month, 1).unwrap().to_zoned(zone.clone());
    let start = first.unwrap().start_of_day().unwrap();
    start.timestamp().as_millisecond().try_into().unwrap()
}

#[test]
fn ten_thousand_months_begin_once_each() {
    let zones = TimeZoneDatabase::bundled();
    let names: Vec<String> = zones.available().map(|name| name.to_string()).collect();
    // Fixed, so that what fails fails again.
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut months = 0;
    while months < 10_000 {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let name = &names[random as usize % names.len()];
        let zone = zones.get(name).unwrap();
        let calendar = calendar("month", name);
        let year = 1971 + ((random >> 32) % 120) as i16;
        let starts =
            (0..50).map(|month| first_of(year + month / 12, (month % 12) as i8 + 1, &zone));
        let starts: Vec<u64> = starts.collect();
        for pair in starts.windows(2) {
            let expected = Period {
                start: pair[0],
                end: pair[1],
            };
            assert_eq!(whole(&*calendar, pair[0]), expected, "{name}");
            months += 1;
        }
    }
}
