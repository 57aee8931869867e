use std::thread;

use futures::executor::block_on;

use super::StoreBench;
use crate::{DayUsage, Entry, Spent, Store, Usage};

const DAY: u64 = 24 * 60 * 60 * 1000;

pub(super) fn conforming(bench: &dyn StoreBench) {
    let store = bench.open();
    assert_eq!(spent(&*store, "a", 5), Spent::default(), "spent of nothing");
    assert_eq!(usage(&*store, 0, u32::MAX), [], "usage of nothing");

    adds_up(&*store);
    many_at_once(&*store);
    others_see_it(bench);
    let store = bench.reopen(store);
    stays(&*store);
    forgets(&*store);
    stays_forgotten(&*bench.reopen(store));
}

fn entry<'a>(credential: &'a str, model: &'a str, day: u32, input: u64) -> Entry<'a> {
    Entry {
        credential,
        model,
        at: u64::from(day) * DAY + 17,
        period: 5,
        usage: Usage {
            input,
            output: 10,
            cache_read: 3,
            cache_write: 2,
            reasoning: 1,
        },
        estimated: false,
        calls: 1,
    }
}

fn record(store: &dyn Store, entry: Entry<'_>) {
    store.record(&entry).expect("an entry is recorded");
}

fn spent(store: &dyn Store, credential: &str, period: u64) -> Spent {
    block_on(store.spent(credential, period)).expect("spent is told")
}

fn usage(store: &dyn Store, from: u32, to: u32) -> Vec<DayUsage> {
    block_on(store.usage(from, to)).expect("usage is told")
}

/// Entries of just now count, by credential and period, and by day, credential and model.
fn adds_up(store: &dyn Store) {
    record(store, entry("a", "m", 3, 100));
    let one = Spent {
        tokens: 110,
        estimated: 0,
        calls: 1,
    };
    assert_eq!(spent(store, "a", 5), one, "an entry of just now");

    let estimate = Entry {
        estimated: true,
        ..entry("a", "m", 3, 20)
    };
    let correction = Entry {
        calls: 0,
        ..entry("a", "m", 4, 1)
    };
    record(store, estimate);
    record(store, correction);
    record(store, entry("a", "a model, \"quoted\" / ü", 3, 0));
    record(
        store,
        Entry {
            period: 6,
            ..entry("a", "m", 4, 7)
        },
    );
    record(store, entry("b", "m", 2, 1000));

    let all = Spent {
        tokens: 110 + 30 + 11 + 10,
        estimated: 30,
        calls: 3,
    };
    assert_eq!(spent(store, "a", 5), all, "entries of one period add up");
    assert_eq!(spent(store, "a", 6).tokens, 17, "periods are kept apart");
    assert_eq!(spent(store, "b", 5).tokens, 1010, "so are credentials");
    assert_eq!(usage(store, 0, u32::MAX), expected_usage());
    assert_eq!(
        usage(store, 3, 3),
        expected_usage()[1..3],
        "days of a range"
    );
    assert_eq!(usage(store, 5, 3), [], "a range that is none");
}

/// By day, credential, model, in this order.
fn expected_usage() -> Vec<DayUsage> {
    let row = |day, credential: &str, model: &str, [calls, input, output]: [u64; 3]| DayUsage {
        day,
        credential: credential.to_owned(),
        model: model.to_owned(),
        calls,
        usage: Usage {
            input,
            output,
            // Each entry has ten tokens of output.
            cache_read: output / 10 * 3,
            cache_write: output / 10 * 2,
            reasoning: output / 10,
        },
        estimated: 0,
    };
    let estimated = DayUsage {
        estimated: 30,
        ..row(3, "a", "m", [2, 120, 20])
    };
    vec![
        row(2, "b", "m", [1, 1000, 10]),
        row(3, "a", "a model, \"quoted\" / ü", [1, 0, 10]),
        estimated,
        row(4, "a", "m", [1, 8, 20]),
    ]
}

/// Entries by several threads are all counted, also while they are being read.
fn many_at_once(store: &dyn Store) {
    const THREADS: u64 = 4;
    const EACH: u64 = 500;
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| (0..EACH).for_each(|_| record(store, entry("c", "m", 2000, 0))));
        }
        let mut before = 0;
        while before < THREADS * EACH {
            let calls = spent(store, "c", 5).calls;
            assert!(before <= calls, "entries that were counted are gone");
            assert!(calls <= THREADS * EACH, "entries were counted twice");
            before = calls;
        }
    });
}

fn others_see_it(bench: &dyn StoreBench) {
    let other = bench.beside();
    assert_eq!(spent(&*other, "c", 5).calls, 2000, "another process reads");
    assert_eq!(usage(&*other, 0, 1999), expected_usage());
}

fn stays(store: &dyn Store) {
    assert_eq!(spent(store, "a", 5).tokens, 161, "after a restart");
    assert_eq!(spent(store, "c", 5).tokens, 20_000, "after a restart");
    assert_eq!(usage(store, 0, 1999), expected_usage(), "after a restart");
}

/// A quota that is reset begins anew. What was used each day stays: it was used.
fn forgets(store: &dyn Store) {
    record(store, entry("a", "m", 9, 1));
    block_on(store.forget_spent("a", 5)).expect("a quota is reset");
    assert_eq!(spent(store, "a", 5), Spent::default(), "it was reset");
    assert_eq!(spent(store, "a", 6).tokens, 17, "another period");
    assert_eq!(spent(store, "b", 5).tokens, 1010, "another credential");
    assert_eq!(usage(store, 0, 4), expected_usage(), "usage was not reset");
    record(store, entry("a", "m", 9, 1));
    assert_eq!(spent(store, "a", 5).tokens, 11, "recorded after the reset");
    block_on(store.forget_usage(3)).expect("old days are forgotten");
    assert_eq!(usage(store, 0, 4), expected_usage()[1..], "days before it");
    assert_eq!(spent(store, "b", 5).tokens, 1010, "a quota is no usage");
}

fn stays_forgotten(store: &dyn Store) {
    assert_eq!(spent(store, "a", 5).tokens, 11, "reset, then restarted");
    assert_eq!(usage(store, 0, 4), expected_usage()[1..]);
}
