use std::collections::HashSet;
use std::time::Duration;

use futures::executor::block_on;
use futures::future::join_all;

use super::StoreBench;
use crate::{Expected, Record, Store};

const SECOND: Duration = Duration::from_secs(1);

pub(super) fn conforming(bench: &dyn StoreBench) {
    let store = bench.open();
    keeps(&*store);
    tells_writings_apart(&*store);
    writes_as_expected(&*store);
    one_of_many_wins(&*store, &*bench.beside());
    ends(bench, &*store);
    claims(bench, &*store, &*bench.beside());
    survives(bench, store);
}

fn put(store: &dyn Store, key: &str, value: &[u8], expected: Expected) -> Option<u64> {
    block_on(store.put("sort", key, value, None, expected)).expect("a record is put")
}

fn get(store: &dyn Store, key: &str) -> Option<Record> {
    block_on(store.get("sort", key)).expect("a record is read")
}

fn value(store: &dyn Store, key: &str) -> Option<Vec<u8>> {
    get(store, key).map(|record| record.value)
}

fn remove(store: &dyn Store, key: &str) -> bool {
    block_on(store.remove("sort", key)).expect("a record is removed")
}

fn keys(store: &dyn Store, kind: &'static str) -> Vec<String> {
    let records = block_on(store.list(kind)).expect("records are listed");
    records.into_iter().map(|(key, _)| key).collect()
}

fn keeps(store: &dyn Store) {
    assert_eq!(get(store, "k"), None, "a record nobody put");
    assert!(!remove(store, "k"), "removed what is not there");
    assert_eq!(keys(store, "sort"), [""; 0], "a kind without records");

    let all: Vec<u8> = (0..=255).collect();
    let odd = ["", "z", "a", "ü'\"\\ %*?[\n", "a\0b", "a:b", "A"];
    for key in odd {
        put(store, key, &all, Expected::Anything);
    }
    put(store, "a", b"", Expected::Anything);
    block_on(store.put("other", "a", b"o", None, Expected::Absent)).expect("put");

    let mut sorted = odd;
    sorted.sort_unstable();
    assert_eq!(keys(store, "sort"), sorted, "listed in order of keys");
    assert_eq!(keys(store, "other"), ["a"], "kinds are kept apart");
    assert_eq!(value(store, "z"), Some(all), "every byte is kept");
    assert_eq!(value(store, "a"), Some(Vec::new()), "the last writer wins");
    for (key, record) in block_on(store.list("sort")).expect("records are listed") {
        assert_eq!(get(store, &key), Some(record), "listed as it is read");
        assert!(remove(store, &key), "{key:?} was there");
        assert_eq!(get(store, &key), None, "{key:?} was removed");
    }
}

fn tells_writings_apart(store: &dyn Store) {
    let mut versions = HashSet::new();
    for round in 0..4 {
        for key in ["v", "w"] {
            let version = put(store, key, b"same", Expected::Anything).expect("a version");
            let read = get(store, key).expect("the record").version;
            assert_eq!(read, version, "read as it was answered");
            assert!(
                versions.insert((key, version)),
                "a version twice for {key:?}"
            );
        }
        if round % 2 == 1 {
            remove(store, "v");
        }
    }
}

fn writes_as_expected(store: &dyn Store) {
    let first = put(store, "e", b"1", Expected::Absent).expect("nothing was there");
    assert_eq!(put(store, "e", b"x", Expected::Absent), None, "it is there");
    let second = put(store, "e", b"2", Expected::Version(first)).expect("this version");
    let late = put(store, "e", b"x", Expected::Version(first));
    assert_eq!(late, None, "an older version");
    assert_eq!(value(store, "e"), Some(b"2".to_vec()), "nothing is changed");
    assert_eq!(get(store, "e").map(|record| record.version), Some(second));

    remove(store, "e");
    let gone = put(store, "e", b"x", Expected::Version(second));
    assert_eq!(gone, None, "a version of what was removed");
    assert_eq!(get(store, "e"), None, "nothing was written");
    assert!(put(store, "e", b"3", Expected::Absent).is_some(), "removed");
}

/// Of many who read the same version, one writes; also when they are two processes.
fn one_of_many_wins(store: &dyn Store, other: &dyn Store) {
    let version = put(store, "race", b"0", Expected::Anything).expect("a version");
    let tries = (0..20).map(|at| {
        let by = if at % 2 == 0 { store } else { other };
        by.put("sort", "race", b"1", None, Expected::Version(version))
    });
    let answers = block_on(join_all(tries));
    let won = answers
        .into_iter()
        .filter_map(|answer| answer.expect("an answer"));
    assert_eq!(won.count(), 1, "one writer wins");
    assert_eq!(value(other, "race"), Some(b"1".to_vec()), "others read it");
}

fn ends(bench: &dyn StoreBench, store: &dyn Store) {
    let put = |key: &'static str, ttl, expected| {
        block_on(store.put("brief", key, b"b", ttl, expected)).expect("a record is put")
    };
    let there = |key: &str| block_on(store.get("brief", key)).expect("read").is_some();

    let version = put("short", Some(SECOND * 10), Expected::Absent).expect("put");
    put("long", Some(SECOND * 1000), Expected::Absent);
    put("ever", None, Expected::Absent);
    bench.advance(SECOND * 9);
    assert!(there("short"), "before its end");
    bench.advance(SECOND * 2);
    assert!(!there("short"), "after its end");
    assert_eq!(keys(store, "brief"), ["ever", "long"], "what has ended");
    let late = put("short", None, Expected::Version(version));
    assert_eq!(late, None, "a version of what has ended");
    let removed = block_on(store.remove("brief", "short"));
    assert_eq!(removed, Ok(false), "removed what has ended");

    assert!(
        put("short", Some(SECOND), Expected::Absent).is_some(),
        "ended"
    );
    put("short", None, Expected::Anything);
    put("ever", Some(SECOND), Expected::Anything);
    bench.advance(SECOND * 2);
    assert!(there("short"), "the last writing says when it ends");
    assert!(!there("ever"), "the last writing says when it ends");
}

fn claims(bench: &dyn StoreBench, store: &dyn Store, other: &dyn Store) {
    let claim = |by: &dyn Store, holder| {
        block_on(by.claim("probe", holder, SECOND * 10)).expect("a claim is decided")
    };
    let release = |by: &dyn Store, holder| block_on(by.release("probe", holder)).expect("released");

    assert!(claim(store, "x"), "nobody had it");
    assert!(claim(store, "x"), "it had it before");
    assert!(!claim(store, "y"), "another one has it");
    assert!(!claim(other, "y"), "another process has it");
    release(other, "y");
    assert!(!claim(other, "y"), "released by who did not have it");
    release(store, "x");
    assert!(claim(other, "y"), "it was given back");
    assert!(!claim(store, "x"), "another process has it");

    bench.advance(SECOND * 9);
    assert!(!claim(store, "x"), "before its end");
    bench.advance(SECOND * 2);
    assert!(claim(store, "x"), "it has ended");
    release(other, "y");
    assert!(!claim(other, "y"), "released by who had it once");
    let free = block_on(store.claim("another", "y", SECOND));
    assert_eq!(free, Ok(true), "another name");

    let tries = (0..20).map(|at| {
        let by = if at % 2 == 0 { store } else { other };
        async move { by.claim("race", &format!("h{at}"), SECOND).await }
    });
    let won = block_on(join_all(tries));
    let won = won.into_iter().filter(|won| *won == Ok(true));
    assert_eq!(won.count(), 1, "one of many has it");
}

fn survives(bench: &dyn StoreBench, store: Box<dyn Store>) {
    let version = put(&*store, "kept", b"k", Expected::Anything);
    let brief = block_on(store.put("brief", "kept", b"k", Some(SECOND), Expected::Anything));
    assert!(brief.is_ok());
    block_on(store.claim("kept", "x", SECOND * 10)).expect("a claim");

    let store = bench.reopen(store);
    let record = get(&*store, "kept").expect("kept over a restart");
    assert_eq!(
        (record.value, Some(record.version)),
        (b"k".to_vec(), version)
    );
    let taken = block_on(store.claim("kept", "y", SECOND));
    assert_eq!(taken, Ok(false), "claims are kept over a restart");
    remove(&*store, "kept");
    let next = put(&*store, "kept", b"k", Expected::Absent);
    assert_ne!(next, version, "versions differ over a restart");
    bench.advance(SECOND * 2);
    assert!(!keys(&*store, "brief").contains(&"kept".to_owned()), "ends");
}
