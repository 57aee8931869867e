use std::time::Duration;

use futures::executor::block_on;
use futures::future::join_all;

use super::StoreBench;
use crate::{News, Notice, Store};

/// More than a reader gets at once, twice.
const MANY: usize = 2500;

pub(super) fn conforming(bench: &dyn StoreBench) {
    let store = bench.open();
    let other = bench.beside();
    let begin = latest(&*store);
    let nothing = News {
        notices: Vec::new(),
        next: begin,
        gap: false,
    };
    assert_eq!(since(&*store, begin), nothing, "no news");

    reads_in_order(&*store, &*other, begin);
    reads_all(bench, &*store, &*other);
    keeps_a_minute(bench, &*store);
    no_place(&*store);
    drop(other);
    survives(bench, store);
}

fn post(store: &dyn Store, topic: &'static str, body: &[u8]) -> u64 {
    block_on(store.post(topic, body)).expect("a notice is posted")
}

fn since(store: &dyn Store, after: u64) -> News {
    block_on(store.since(after)).expect("news are read")
}

fn latest(store: &dyn Store) -> u64 {
    block_on(store.latest()).expect("the last id is read")
}

fn reads_in_order(store: &dyn Store, other: &dyn Store, begin: u64) {
    let first = post(store, "cooldown", b"\0\xff");
    let second = post(other, "session", b"");
    assert!(begin < first && first < second, "ids grow");
    assert_eq!(latest(store), second, "the last id, whoever posted");

    let notice = |id, topic: &str, body: &[u8]| Notice {
        id,
        topic: topic.to_owned(),
        body: body.to_vec(),
    };
    let both = [
        notice(first, "cooldown", b"\0\xff"),
        notice(second, "session", b""),
    ];
    for reader in [store, other] {
        let news = since(reader, begin);
        assert_eq!(news.notices, both, "the poster and others read both");
        assert!(!news.gap, "nothing was missed");
        assert_eq!(since(reader, news.next).notices, [], "read on: nothing");
        assert_eq!(since(reader, first).notices, both[1..], "after a notice");
    }
}

/// Who reads on from `next` misses nothing, however much there is and whoever posts.
fn reads_all(bench: &dyn StoreBench, store: &dyn Store, other: &dyn Store) {
    let mut place = latest(store);
    let posts = (0..MANY).map(|at| {
        let by = if at % 50 == 0 { other } else { store };
        by.post("many", b"body")
    });
    let ids = block_on(join_all(posts));
    let mut ids: Vec<u64> = ids.into_iter().map(|id| id.expect("posted")).collect();
    ids.sort_unstable();
    bench.advance(Duration::from_secs(50));

    let mut read = Vec::new();
    loop {
        let news = since(store, place);
        assert!(news.notices.len() <= 1000, "too many at once");
        assert!(!news.gap, "gone within a minute");
        place = news.next;
        if news.notices.is_empty() {
            break;
        }
        read.extend(news.notices.into_iter().map(|notice| notice.id));
    }
    assert_eq!(read, ids, "every notice once, in order");
    assert_eq!(place, latest(store), "read to the end");
}

/// A notice is there for a minute; after that it is there, or its absence is told.
fn keeps_a_minute(bench: &dyn StoreBench, store: &dyn Store) {
    let before = latest(store);
    let old = post(store, "old", b"");
    bench.advance(Duration::from_secs(55));
    let news = since(store, before);
    assert!(!news.gap && news.notices.len() == 1, "gone within a minute");
    bench.advance(Duration::from_secs(3600));
    let new = post(store, "new", b"");
    let news = since(store, before);
    let ids: Vec<u64> = news.notices.iter().map(|notice| notice.id).collect();
    assert!(
        ids == [old, new] || (news.gap && ids == [new]),
        "a notice is gone and the reader was not told: {news:?}"
    );
}

/// A store that lost its news says so to a reader who knows more than it does.
fn no_place(store: &dyn Store) {
    let latest = latest(store);
    let news = since(store, latest + 1_000_000);
    assert!(news.gap, "a place that this store never gave");
    assert_eq!(news.next, latest, "where to read on after a gap");
}

fn survives(bench: &dyn StoreBench, store: Box<dyn Store>) {
    let last = post(&*store, "last", b"before");
    let store = bench.reopen(store);
    assert_eq!(latest(&*store), last, "after a restart");
    let next = post(&*store, "next", b"after");
    assert!(next > last, "ids grow over a restart");
    let news = since(&*store, last);
    assert_eq!(news.notices.len(), 1, "a reader reads on over a restart");
    assert!(!news.gap, "a restart is no gap");
}
