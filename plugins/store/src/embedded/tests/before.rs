//! A store that an earlier release left.

use rusqlite::Connection;
use turnpike_api::{DayUsage, Used};

use super::*;

/// As the third version of the tables left it, with a journal that was not folded.
fn left(bench: &Bench) {
    let db = Connection::open(bench.path()).unwrap();
    for step in [
        include_str!("../sql/tables_1.sql"),
        include_str!("../sql/tables_2.sql"),
        include_str!("../sql/tables_3.sql"),
        "UPDATE marks SET value = 7 WHERE name = 'folded'",
        "INSERT INTO usage VALUES (20000, 'a', 'm', 3, 100, 50, 4, 3, 2, 30)",
        "INSERT INTO usage VALUES (20001, 'a', 'm', 1, 1, 2, 0, 0, 0, 0)",
        "INSERT INTO quota VALUES ('a', 1, 153, 30, 4)",
        "PRAGMA journal_mode = WAL",
        "PRAGMA application_id = 1416653617",
        "PRAGMA user_version = 3",
    ] {
        db.execute_batch(step).unwrap();
    }
    let journals = bench.directory.path().join("t.db.usage");
    std::fs::create_dir(&journals).unwrap();
    let at = 20_001_u64 * 86_400_000;
    let body = format!("a\tm\t{at}\t1\t10\t20\t0\t0\t0\t0\t1\t");
    let line = format!("\n{body}{:08x}\n", crc32fast::hash(body.as_bytes()));
    std::fs::write(journals.join("000008"), line).unwrap();
}

#[test]
fn what_was_counted_before_is_nobodys_and_has_no_price() {
    let bench = Bench::new();
    left(&bench);
    let row = |day, calls, usage: [u64; 5], estimated| {
        let [input, output, cache_read, cache_write, reasoning] = usage;
        DayUsage {
            day,
            credential: "a".to_owned(),
            model: "m".to_owned(),
            used: Used {
                calls,
                usage: Usage {
                    input,
                    output,
                    cache_read,
                    cache_write,
                    reasoning,
                },
                estimated,
                cost: 0,
                unpriced: calls,
            },
            ..DayUsage::default()
        }
    };
    let expected = [
        row(20_000, 3, [100, 50, 4, 3, 2], 30),
        row(20_001, 2, [11, 22, 0, 0, 0], 0),
    ];
    let store = bench.lazy();
    assert_eq!(block_on(store.usage(0, u32::MAX)).unwrap(), expected);
    assert_eq!(tokens(&store, "a"), 183);
    drop(store);
    let store = bench.lazy();
    assert_eq!(block_on(store.usage(0, u32::MAX)).unwrap(), expected);
    let changed = block_on(store.changed_days(0)).unwrap();
    assert_eq!(changed.len(), 2, "other replicas are to be told of them");
}

#[test]
fn one_that_counted_nothing_is_taken_over() {
    let bench = Bench::new();
    let db = Connection::open(bench.path()).unwrap();
    for step in [
        include_str!("../sql/tables_1.sql"),
        include_str!("../sql/tables_2.sql"),
        include_str!("../sql/tables_3.sql"),
        "PRAGMA application_id = 1416653617",
        "PRAGMA user_version = 3",
    ] {
        db.execute_batch(step).unwrap();
    }
    drop(db);
    let store = bench.lazy();
    assert_eq!(block_on(store.usage(0, u32::MAX)).unwrap(), []);
    store.record(&entry("a", "m", 5)).unwrap();
    assert_eq!(block_on(store.usage(0, u32::MAX)).unwrap().len(), 1);
}
