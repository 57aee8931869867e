use std::time::Duration;

use futures::executor::block_on;

use super::StoreBench;
use crate::{Draw, Drawn, Grant, Period, Store};

const LEASE: Duration = Duration::from_secs(10);

pub(super) fn conforming(bench: &dyn StoreBench) {
    let store = bench.open();
    let now = drawn(&*store, "one", &[]).now;
    let period = Period {
        start: now - 1000,
        end: now + 3_600_000,
    };
    let budget = |bucket: &str| draw(bucket, period);

    asks_and_tells(&*store, &budget("|a|x"));
    says_it_again(&*store, &budget("|b|x"));
    several_at_once(&*store, &budget("|c|x"));
    of_other_periods(&*store, &budget("|d|x"));
    let store = others_count(bench, store, &budget("|e|x"));
    running_calls_come_back(bench, &*store, &budget("|f|x"));
}

/// A first draw on a limit of 100.
fn draw(bucket: &str, period: Period) -> Draw {
    Draw {
        bucket: bucket.into(),
        period,
        returns: false,
        most: 100,
        turn: 1,
        total: 0,
        used: 0,
        least: 0,
        need: 1,
        want: 1,
    }
}

fn drawn(store: &dyn Store, replica: &str, draws: &[Draw]) -> Drawn {
    block_on(store.draw(replica, LEASE, draws)).expect("a store grants")
}

fn one(store: &dyn Store, replica: &str, draw: Draw) -> Grant {
    let drawn = drawn(store, replica, &[draw]);
    assert_eq!(drawn.grants.len(), 1, "a grant for each draw");
    drawn.grants[0]
}

/// What is drawn is gone, until it is given back.
fn asks_and_tells(store: &dyn Store, budget: &Draw) {
    let granted = one(store, "one", budget.clone());
    let expected = Grant {
        units: 1,
        left: 99,
        used: 0,
    };
    assert_eq!(granted, expected, "a first unit");
    let all = Draw {
        turn: 2,
        total: 1,
        used: 1,
        need: 200,
        want: 200,
        ..budget.clone()
    };
    let expected = Grant {
        units: 99,
        left: 0,
        used: 1,
    };
    assert_eq!(one(store, "one", all), expected, "the rest of it");
    let more = Draw {
        turn: 3,
        total: 100,
        used: 1,
        ..budget.clone()
    };
    assert_eq!(one(store, "one", more).units, 0, "there is nothing left");
    let back = Draw {
        turn: 4,
        total: 40,
        used: 30,
        need: 0,
        want: 0,
        ..budget.clone()
    };
    let expected = Grant {
        units: 0,
        left: 60,
        used: 30,
    };
    assert_eq!(one(store, "one", back), expected, "some was given back");
    let beyond = Draw {
        turn: 5,
        total: 140,
        used: 140,
        ..budget.clone()
    };
    let expected = Grant {
        units: 0,
        left: 0,
        used: 140,
    };
    assert_eq!(
        one(store, "one", beyond),
        expected,
        "more used than granted"
    );
}

/// A draw that is late, or comes twice, changes nothing.
fn says_it_again(store: &dyn Store, budget: &Draw) {
    let wants = |turn, total, need| Draw {
        turn,
        total,
        need,
        want: need,
        ..budget.clone()
    };
    assert_eq!(one(store, "one", wants(1, 0, 10)).units, 10);
    assert_eq!(one(store, "one", wants(1, 0, 10)).units, 0, "twice");
    assert_eq!(one(store, "one", wants(3, 10, 0)).left, 90);
    assert_eq!(one(store, "one", wants(2, 0, 50)).units, 0, "late");
    assert_eq!(one(store, "one", wants(4, 10, 0)).left, 90, "late or twice");
    // The answer to the one before was lost: what it granted nobody has.
    assert_eq!(one(store, "one", wants(5, 10, 20)).units, 20);
    assert_eq!(one(store, "one", wants(6, 10, 90)).units, 90, "lost");
}

fn several_at_once(store: &dyn Store, budget: &Draw) {
    let bucket = |name: &str, need| Draw {
        bucket: name.into(),
        need,
        want: need,
        ..budget.clone()
    };
    let names: Vec<String> = (0..300).map(|n| format!("|c|{n} ü \"x\"")).collect();
    let draws: Vec<_> = names
        .iter()
        .zip(1..)
        .map(|(name, n)| bucket(name, n))
        .collect();
    let drawn = drawn(store, "one", &draws);
    let granted: Vec<u64> = drawn.grants.iter().map(|grant| grant.units).collect();
    let expected: Vec<u64> = (1..=300).map(|n| u64::min(n, 100)).collect();
    assert_eq!(granted, expected, "in the order of the draws");
    assert!(drawn.replicas >= 1);
}

/// Nothing is granted of a period that is over, or has not begun; what was used of it is noted.
fn of_other_periods(store: &dyn Store, budget: &Draw) {
    let begins = budget.period.start;
    for (n, period) in [(begins - 1000, begins), (begins + 60_000, begins + 120_000)]
        .into_iter()
        .enumerate()
    {
        let other = Draw {
            period: Period {
                start: period.0,
                end: period.1,
            },
            used: 7,
            total: 7,
            ..budget.clone()
        };
        let granted = one(store, "one", other);
        assert_eq!((granted.units, granted.used), (0, 7), "period {n}");
    }
    assert_eq!(one(store, "one", budget.clone()).left, 99, "kept apart");
}

/// What a process drew that has ended counts as used.
fn others_count(bench: &dyn StoreBench, store: Box<dyn Store>, budget: &Draw) -> Box<dyn Store> {
    let thirty = Draw {
        need: 30,
        want: 30,
        ..budget.clone()
    };
    assert_eq!(one(&*store, "one", thirty.clone()).units, 30);
    let mut store = store;
    for (replica, left) in [("two", 40), ("three", 10)] {
        store = bench.reopen(store);
        assert_eq!(
            one(&*store, replica, thirty.clone()).left,
            left,
            "{replica}"
        );
    }
    bench.advance(2 * LEASE);
    assert_eq!(one(&*store, "four", thirty).units, 10, "after their leases");
    store
}

/// Of a process that has ended, running calls come back when its lease has ended, at the latest.
fn running_calls_come_back(bench: &dyn StoreBench, store: &dyn Store, budget: &Draw) {
    let running = Draw {
        returns: true,
        period: Period::ENDLESS,
        need: 80,
        want: 80,
        ..budget.clone()
    };
    assert_eq!(one(store, "one", running.clone()).units, 80);
    let fewer = Draw {
        turn: 2,
        total: 60,
        need: 0,
        want: 0,
        ..running.clone()
    };
    assert_eq!(one(store, "one", fewer).left, 40);
    bench.advance(2 * LEASE);
    assert_eq!(one(store, "two", running).units, 80, "after the lease");
}
