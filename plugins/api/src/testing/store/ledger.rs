use std::thread;

use futures::executor::block_on;

use super::StoreBench;
use crate::{DayUsage, Entry, Payer, Spent, Store, Usage, Used};

const DAY: u64 = 24 * 60 * 60 * 1000;

const NOW: u64 = 1_800_000_000_000;

const ADA: Payer<'_> = Payer {
    tenant: "acme",
    team: "search",
    user: "3f9a",
    token: "token 7",
};

pub(super) fn conforming(bench: &dyn StoreBench) {
    let store = bench.open();
    assert_eq!(spent(&*store, "a", 5), Spent::default(), "spent of nothing");
    assert_eq!(usage(&*store, 0, u32::MAX), [], "usage of nothing");

    adds_up(&*store);
    many_at_once(&*store);
    parts_are_the_whole(&*store);
    others_see_it(bench, &*store);
    let store = bench.reopen(store);
    stays(&*store);
    forgets(&*store);
    stays_forgotten(&*bench.reopen(store));
}

fn entry<'a>(credential: &'a str, model: &'a str, day: u32, input: u64) -> Entry<'a> {
    Entry {
        payer: ADA,
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
        cost: Some(7),
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

/// As whoever has the store knows it, once it told others.
fn usage(store: &dyn Store, from: u32, to: u32) -> Vec<DayUsage> {
    block_on(store.share_usage(NOW, None)).expect("usage is shared");
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
    let of_nobody = Entry {
        payer: Payer::default(),
        cost: None,
        ..entry("b", "m", 2, 0)
    };
    record(store, of_nobody);
    let by_key = Payer {
        user: "",
        token: "key ci",
        ..ADA
    };
    let by_key = Entry {
        payer: by_key,
        ..entry("b", "m", 2, 0)
    };
    record(store, by_key);

    let all = Spent {
        tokens: 110 + 30 + 11 + 10,
        estimated: 30,
        calls: 3,
    };
    assert_eq!(spent(store, "a", 5), all, "entries of one period add up");
    assert_eq!(spent(store, "a", 6).tokens, 17, "periods are kept apart");
    assert_eq!(spent(store, "b", 5).tokens, 1030, "so are credentials");
    assert_eq!(usage(store, 0, u32::MAX), expected_usage());
    assert_eq!(
        usage(store, 3, 3),
        expected_usage()[3..5],
        "days of a range"
    );
    assert_eq!(usage(store, 5, 3), [], "a range that is none");
}

/// By day, credential, model and payer, in this order.
fn expected_usage() -> Vec<DayUsage> {
    let row = |day, credential: &str, model: &str, [calls, input, output]: [u64; 3]| DayUsage {
        day,
        credential: credential.to_owned(),
        model: model.to_owned(),
        tenant: ADA.tenant.to_owned(),
        team: ADA.team.to_owned(),
        user: ADA.user.to_owned(),
        token: ADA.token.to_owned(),
        used: Used {
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
            cost: output / 10 * 7,
            unpriced: 0,
        },
    };
    let mut of_nobody = DayUsage {
        tenant: String::new(),
        team: String::new(),
        user: String::new(),
        token: String::new(),
        ..row(2, "b", "m", [1, 0, 10])
    };
    (of_nobody.used.cost, of_nobody.used.unpriced) = (0, 1);
    let by_key = DayUsage {
        user: String::new(),
        token: "key ci".to_owned(),
        ..row(2, "b", "m", [1, 0, 10])
    };
    let mut estimated = row(3, "a", "m", [2, 120, 20]);
    estimated.used.estimated = 30;
    vec![
        of_nobody,
        by_key,
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

/// A day of many rows comes in parts, each row in one of them.
fn parts_are_the_whole(store: &dyn Store) {
    const ROWS: u64 = 2_500;
    let mark = (0..ROWS).map(|row| {
        let token = format!("token {row}");
        let payer = Payer {
            token: &token,
            ..ADA
        };
        store.note(&Entry {
            payer,
            ..entry("d", "m", 3000, row)
        })
    });
    let mark = mark.last().expect("there are rows");
    store.keep(mark).expect("they are kept");
    let days = block_on(store.usage_days(2001, u32::MAX)).expect("days are told");
    assert_eq!(days, [3000]);
    let (mut place, mut input, mut count) = (None, 0, 0);
    loop {
        let page = block_on(store.usage_of(3000, place)).expect("a part is told");
        count += page.rows.len() as u64;
        input += page
            .rows
            .iter()
            .map(|row| row.used.usage.input)
            .sum::<u64>();
        place = page.next;
        if place.is_none() {
            break;
        }
    }
    assert_eq!((count, input), (ROWS, ROWS * (ROWS - 1) / 2));
}

fn others_see_it(bench: &dyn StoreBench, store: &dyn Store) {
    block_on(store.share_usage(NOW, None)).expect("usage is shared");
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
    assert_eq!(spent(store, "b", 5).tokens, 1030, "another credential");
    assert_eq!(usage(store, 0, 4), expected_usage(), "usage was not reset");
    record(store, entry("a", "m", 9, 1));
    assert_eq!(spent(store, "a", 5).tokens, 11, "recorded after the reset");
    block_on(store.forget_usage(3)).expect("old days are forgotten");
    assert_eq!(usage(store, 0, 4), expected_usage()[3..], "days before it");
    assert_eq!(spent(store, "b", 5).tokens, 1030, "a quota is no usage");
}

fn stays_forgotten(store: &dyn Store) {
    assert_eq!(spent(store, "a", 5).tokens, 11, "reset, then restarted");
    assert_eq!(usage(store, 0, 4), expected_usage()[3..]);
}
