//! The store over a real `redis-server`.

mod cluster;
mod draws;
mod faults;
mod fleet;
mod process;
mod sentinel;
mod server;
mod usage;

use std::sync::Arc;
use std::time::Duration;

use futures::executor::block_on;
use turnpike_api::testing::{StoreBench, conforming_bulletin, conforming_directory};
use turnpike_api::{Bulletin, Clock, Directory, Expected, Store, StoreError};

use super::{ClientCertificate, Options, Redis, SetupError};
use crate::{Embedded, Shared};
use server::Server;

struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> u64 {
        1_800_000_000_000
    }
}

/// With counters, which the suite does not ask for.
fn whole(redis: Redis) -> Box<dyn Store> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("t.db");
    let counters = Embedded::open(&path, Arc::new(Stopped)).unwrap();
    Box::new(Shared::new(redis, counters))
}

impl StoreBench for Server {
    fn open(&self) -> Box<dyn Store> {
        let () = self.ask(&["FLUSHALL"]);
        whole(self.store())
    }

    fn reopen(&self, store: Box<dyn Store>) -> Box<dyn Store> {
        drop(store);
        whole(self.store())
    }

    fn beside(&self) -> Box<dyn Store> {
        whole(self.store())
    }

    fn advance(&self, by: Duration) {
        self.age(by);
    }
}

fn put(store: &Redis, key: &str, ttl: Option<u64>) -> Result<Option<u64>, StoreError> {
    let ttl = ttl.map(Duration::from_secs);
    block_on(store.put("kind", key, b"v", ttl, Expected::Anything))
}

#[test]
fn records_and_claims_conform() {
    conforming_directory(&Server::running());
}

#[test]
fn news_conform() {
    conforming_bulletin(&Server::running());
}

#[test]
fn a_key_ends_with_what_it_is_of() {
    let server = Server::running();
    let store = server.store();
    let index = "turnpike:1:{kind}:index";
    let lasts = |key: &str| server.ask::<i64>(&["TTL", key]);

    put(&store, "brief", Some(100)).unwrap();
    put(&store, "long", Some(1000)).unwrap();
    put(&store, "brief", Some(100)).unwrap();
    assert!((90..=100).contains(&lasts("turnpike:1:{kind}:record:brief")));
    assert!((900..=1000).contains(&lasts(index)), "the longest");
    put(&store, "ever", None).unwrap();
    put(&store, "brief", Some(100)).unwrap();
    assert_eq!(lasts(index), -1, "one is for ever");
    assert_eq!(
        block_on(store.claim("c", "x", Duration::from_secs(50))),
        Ok(true)
    );
    assert!((40..=50).contains(&lasts("turnpike:1:claim:c")));
}

/// Nobody lists them, and they come and go: the index must not grow.
#[test]
fn what_has_ended_leaves_the_index() {
    let server = Server::running();
    let store = server.store();
    put(&store, "ever", None).unwrap();
    for at in 0..300 {
        let brief = Some(Duration::ZERO);
        let key = format!("brief-{at}");
        block_on(store.put("kind", &key, b"", brief, Expected::Anything)).unwrap();
        let size: u32 = server.ask(&["ZCARD", "turnpike:1:{kind}:index"]);
        assert!(size < 100, "{size} after {at}");
    }
}

#[test]
fn many_are_listed_over_pages() {
    let server = Server::running();
    let store = server.store();
    let keys: Vec<String> = (0..2500).map(|at| format!("{at:04}")).collect();
    let puts = keys
        .iter()
        .map(|key| store.put("kind", key, b"v", None, Expected::Absent));
    let versions = block_on(futures::future::join_all(puts));
    assert!(
        versions
            .iter()
            .all(|version| matches!(version, Ok(Some(_))))
    );
    let listed = block_on(store.list("kind")).unwrap();
    assert!(listed.iter().map(|(key, _)| key).eq(&keys));
}

#[test]
fn absurd_times_to_live_are_long() {
    let server = Server::running();
    let store = server.store();
    let ever = Some(Duration::MAX);
    let version = block_on(store.put("kind", "k", b"", ever, Expected::Absent));
    assert!(matches!(version, Ok(Some(_))), "{version:?}");
    assert_eq!(block_on(store.claim("c", "x", Duration::MAX)), Ok(true));
}

#[test]
fn notices_that_were_removed_leave_a_gap() {
    let server = Server::running();
    let store = server.store();
    let since = |after| block_on(store.since(after)).unwrap();
    // It has noted which server this is.
    block_on(store.link.up());
    // As if they had been posted in 1970: at the microseconds 1 to 10,000.
    let old = "for id = 1, 10000 do redis.call('XADD', KEYS[1], id .. '-0', 'topic', 't', 'body', '') end \
        redis.call('SET', KEYS[2], '0')";
    let (notices, floor) = ("turnpike:1:{news}:notices", "turnpike:1:{news}:floor");
    let () = server.ask(&["EVAL", old, "2", notices, floor]);
    assert_eq!(block_on(store.latest()), Ok(10_000));
    assert!(!since(0).gap, "few are kept, however old");
    assert_eq!(since(0).next, 1000, "a page");

    let first = block_on(store.post("topic", b"")).unwrap();
    assert!(since(9_999).gap, "one of them was not read");
    assert!(!since(10_000).gap, "all of them were read");
    assert_eq!(since(0).notices[0].id, first, "what is left is read");
}

#[test]
fn two_prefixes_are_two_stores() {
    let server = Server::running();
    let other = Options {
        key_prefix: "other".to_owned(),
        ..server.options()
    };
    let (store, other) = (server.store(), Redis::open(&other).unwrap());
    put(&store, "k", None).unwrap();
    assert_eq!(block_on(other.get("kind", "k")), Ok(None));
}

#[test]
fn a_bad_address_is_told_without_itself() {
    let refused = |url: &str| Redis::open(&Options::at(url)).err().unwrap();
    for url in [
        "",
        "http://127.0.0.1",
        "redis://:pass word@",
        "127.0.0.1:6379",
    ] {
        let error = refused(url);
        assert!(matches!(error, SetupError::Url), "{url}: {error}");
    }
    for url in [
        "redis://:hunter2@127.0.0.1",
        "redis://u@127.0.0.1",
        "unix:///s?pass=hunter2",
    ] {
        let error = refused(url);
        assert!(matches!(error, SetupError::Login), "{url}: {error}");
        assert!(!error.to_string().contains("hunter2"));
    }
}
