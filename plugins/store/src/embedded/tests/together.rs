//! Several who have the same file.

use std::thread;

use super::*;

#[test]
fn a_second_gateway_is_refused_at_once() {
    let bench = Bench::new();
    let first = bench.store();
    let error = Embedded::open(&bench.path(), bench.clock.clone());
    let error = error.err().expect("refused").to_string();
    assert!(error.contains("another gateway uses this store"), "{error}");
    drop(first);
    bench.store();
}

#[test]
fn a_reader_sees_what_is_still_in_journals_and_changes_nothing() {
    let bench = Bench::new();
    let store = bench.lazy();
    store.record(&entry("a", "m", 5)).unwrap();
    assert_eq!(tokens(&store, "a"), 5);
    store.record(&entry("a", "m", 6)).unwrap();
    store.record(&entry("b", "m", 7)).unwrap();
    block_on(store.put("kind", "key", b"v", None, Expected::Anything)).unwrap();

    let files = bench.files();
    let reader = bench.reader();
    assert_eq!((tokens(&reader, "a"), tokens(&reader, "b")), (11, 7));
    let used = block_on(reader.usage(0, u32::MAX)).unwrap();
    let inputs = used
        .iter()
        .map(|row| (row.used.usage.input, row.used.calls));
    assert_eq!(inputs.collect::<Vec<_>>(), [(11, 2), (7, 1)]);
    assert!(block_on(reader.get("kind", "key")).unwrap().is_some());

    assert!(block_on(reader.put("kind", "key", b"", None, Expected::Anything)).is_err());
    assert!(block_on(reader.remove("kind", "key")).is_err());
    assert!(block_on(reader.claim("c", "h", NEVER)).is_err());
    assert!(block_on(reader.release("c", "h")).is_err());
    assert!(block_on(reader.post("topic", b"")).is_err());
    assert!(block_on(reader.forget_spent("a", 1)).is_err());
    assert!(reader.record(&entry("a", "m", 1)).is_err());
    drop(reader);
    assert_eq!(bench.files(), files);
    assert_eq!(tokens(&store, "a"), 11);
}

#[test]
fn a_reader_sees_what_a_killed_gateway_left() {
    let bench = Bench::new();
    let store = bench.lazy();
    store.record(&entry("a", "m", 5)).unwrap();
    block_on(store.put("kind", "key", b"v", None, Expected::Anything)).unwrap();
    // As it lies there after a kill: the log is not in the file yet.
    let left = Bench::new();
    std::fs::create_dir(left.directory.path().join("t.db.usage")).unwrap();
    for name in ["t.db", "t.db-wal", "t.db.usage/000001"] {
        let (from, to) = (bench.directory.path(), left.directory.path());
        std::fs::copy(from.join(name), to.join(name)).unwrap();
    }
    let reader = left.reader();
    assert_eq!(tokens(&reader, "a"), 5);
    assert!(block_on(reader.get("kind", "key")).unwrap().is_some());
    drop(reader);
    assert_eq!(tokens(&left.store(), "a"), 5);
}

#[test]
fn there_must_be_something_to_read() {
    let bench = Bench::new();
    let read = || Embedded::open_read_only(&bench.path(), bench.clock.clone()).err();
    assert!(matches!(read(), Some(OpenError::Missing { .. })));
    assert_eq!(bench.files(), [""; 0]);
    std::fs::write(bench.path(), b"").unwrap();
    assert!(matches!(read(), Some(OpenError::Missing { .. })));
}

#[test]
fn a_command_without_a_gateway_makes_the_store() {
    let bench = Bench::new();
    let beside = Embedded::open_beside(&bench.path(), bench.clock.clone()).unwrap();
    block_on(beside.put("kind", "key", b"v", None, Expected::Anything)).unwrap();
    assert!(beside.record(&entry("a", "m", 1)).is_err());
    assert!(block_on(beside.forget_spent("a", 1)).is_err());
    drop(beside);
    assert!(
        block_on(bench.store().get("kind", "key"))
            .unwrap()
            .is_some()
    );
}

/// A reader that always finds a journal just folded or just begun never misses an entry, nor
/// counts one twice.
#[test]
fn a_reader_is_right_while_journals_are_folded() {
    let bench = Bench::new();
    let every = Duration::from_millis(1);
    let store = Embedded::open_folding(&bench.path(), bench.clock.clone(), every).unwrap();
    let reader = bench.reader();
    let (tried, done) = (AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..20_000 {
                tried.fetch_add(1, Ordering::SeqCst);
                store.record(&entry("a", "m", 1)).unwrap();
                done.fetch_add(1, Ordering::SeqCst);
            }
        });
        while done.load(Ordering::SeqCst) < 20_000 {
            let least = done.load(Ordering::SeqCst);
            let seen = tokens(&reader, "a");
            let most = tried.load(Ordering::SeqCst);
            assert!((least..=most).contains(&seen), "{least} {seen} {most}");
        }
    });
    assert_eq!(tokens(&reader, "a"), 20_000);
}

/// The moment that the test above hits by chance only: a journal is folded and removed between the
/// reader's opening of it and its reading, before or after its view of the tables began.
#[test]
fn a_reader_keeps_hold_of_a_journal_that_is_removed() {
    let bench = Bench::new();
    let store = bench.lazy();
    store.record(&entry("a", "m", 5)).unwrap();
    let held = journal::segments(&bench.path()).unwrap();
    let db = rusqlite::Connection::open(bench.path()).unwrap();
    let before = db.unchecked_transaction().unwrap();
    assert_eq!(fold::folded(&before).unwrap(), 0);

    assert_eq!(tokens(&store, "a"), 5);
    assert!(!held[0].path.exists(), "folded and removed");
    let unfolded = fold::unfolded(&before, &held).unwrap();
    assert_eq!(unfolded.spent_of("a", 1).tokens, 5, "not in these tables");
    drop(before);
    let unfolded = fold::unfolded(&db, &held).unwrap();
    assert_eq!(unfolded.spent_of("a", 1).tokens, 0, "in the tables now");
}

/// Opening, writing, reading and closing, all at once, on one file: each waits, none fails.
#[test]
fn nobody_is_told_that_the_database_is_locked() {
    const ROUNDS: u64 = 15;
    let bench = Bench::new();
    let every = Duration::from_millis(1);
    let count = |store: &Embedded| {
        loop {
            let found = block_on(store.get("kind", "count")).unwrap();
            let (value, expected) = found.map_or((0, Expected::Absent), |record| {
                let value = u64::from_le_bytes(record.value.try_into().unwrap());
                (value, Expected::Version(record.version))
            });
            let value = (value + 1).to_le_bytes();
            let put = store.put("kind", "count", &value, None, expected);
            if block_on(put).unwrap().is_some() {
                break;
            }
        }
        block_on(store.post("topic", b"")).unwrap();
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..ROUNDS {
                let store =
                    Embedded::open_folding(&bench.path(), bench.clock.clone(), every).unwrap();
                for _ in 0..20 {
                    store.record(&entry("a", "m", 1)).unwrap();
                    count(&store);
                }
                store.close().unwrap();
            }
        });
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..ROUNDS {
                    let store = Embedded::open_beside(&bench.path(), bench.clock.clone()).unwrap();
                    (0..20).for_each(|_| count(&store));
                    tokens(&store, "a");
                    store.close().unwrap();
                }
            });
        }
    });
    let reader = bench.reader();
    let record = block_on(reader.get("kind", "count")).unwrap().unwrap();
    assert_eq!(record.value, (3 * ROUNDS * 20).to_le_bytes());
    assert_eq!(block_on(reader.latest()), Ok(3 * ROUNDS * 20));
    assert_eq!(tokens(&reader, "a"), ROUNDS * 20);
}
