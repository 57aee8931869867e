//! The store as a whole, over real files.

mod before;
mod broken;
mod speed;
mod tallies;
mod together;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::executor::block_on;
use tempfile::TempDir;
use turnpike_api::testing::{StoreBench, conforming_store};
use turnpike_api::{Bulletin, Clock, Directory, Entry, Expected, Ledger, Payer, Store, Usage};

use super::*;

/// Longer than a test: no folding but when it is needed.
const NEVER: Duration = Duration::from_secs(100_000);

/// A directory for a store, and a clock that is set by hand.
struct Bench {
    directory: TempDir,
    clock: Arc<Hand>,
}

struct Hand(AtomicU64);

impl Clock for Hand {
    fn now(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

impl Bench {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            clock: Arc::new(Hand(AtomicU64::new(1_800_000_000_000))),
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("t.db")
    }

    /// A child that another test has just forked holds the lock until it becomes its program.
    fn store(&self) -> Embedded {
        loop {
            match Embedded::open(&self.path(), self.clock.clone()) {
                Err(OpenError::InUse { .. }) => std::thread::yield_now(),
                opened => break opened.unwrap(),
            }
        }
    }

    /// Folds only when it is asked for counters, and at the end.
    fn lazy(&self) -> Embedded {
        Embedded::open_folding(&self.path(), self.clock.clone(), NEVER).unwrap()
    }

    fn reader(&self) -> Embedded {
        Embedded::open_read_only(&self.path(), self.clock.clone()).unwrap()
    }

    fn advance(&self, by: Duration) {
        self.clock
            .0
            .fetch_add(by.as_millis() as u64, Ordering::SeqCst);
    }

    fn files(&self) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(self.directory.path())
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

fn entry<'a>(credential: &'a str, model: &'a str, input: u64) -> Entry<'a> {
    Entry {
        payer: Payer::default(),
        credential,
        model,
        at: 1_800_000_000_000,
        period: 1,
        usage: Usage {
            input,
            ..Usage::default()
        },
        cost: None,
        estimated: false,
        calls: 1,
    }
}

fn tokens(store: &Embedded, credential: &str) -> u64 {
    block_on(store.spent(credential, 1)).unwrap().tokens
}

/// The bench of the suite: each store it opens is in a new directory.
struct Suite(std::cell::RefCell<Bench>);

impl StoreBench for Suite {
    fn open(&self) -> Box<dyn Store> {
        let clock = self.0.borrow().clock.clone();
        let directory = tempfile::tempdir().unwrap();
        *self.0.borrow_mut() = Bench { directory, clock };
        Box::new(self.0.borrow().store())
    }

    fn reopen(&self, store: Box<dyn Store>) -> Box<dyn Store> {
        drop(store);
        Box::new(self.0.borrow().store())
    }

    fn beside(&self) -> Box<dyn Store> {
        let bench = self.0.borrow();
        Box::new(Embedded::open_beside(&bench.path(), bench.clock.clone()).unwrap())
    }

    fn advance(&self, by: Duration) {
        self.0.borrow().advance(by);
    }
}

#[test]
fn conforms() {
    conforming_store(&Suite(Bench::new().into()));
}

#[test]
fn leaves_one_file_and_its_lock() {
    let bench = Bench::new();
    let store = bench.store();
    store.record(&entry("a", "m", 5)).unwrap();
    store.close().unwrap();
    assert_eq!(bench.files(), ["t.db", "t.db.lock"]);
}

#[cfg(unix)]
#[test]
fn files_are_their_owners() {
    use std::os::unix::fs::MetadataExt;

    let bench = Bench::new();
    let store = bench.store();
    block_on(store.put("kind", "key", b"value", None, Expected::Anything)).unwrap();
    let names = bench.files();
    assert!(names.contains(&"t.db.usage".to_owned()), "{names:?}");
    assert!(names.contains(&"t.db-wal".to_owned()), "{names:?}");
    for name in names {
        let mode = bench
            .directory
            .path()
            .join(&name)
            .metadata()
            .unwrap()
            .mode();
        let expected = if name.ends_with(".usage") {
            0o700
        } else {
            0o600
        };
        assert_eq!(mode & 0o777, expected, "{name}");
    }
}

#[test]
fn absurd_numbers_stay_at_the_largest() {
    let bench = Bench::new();
    let store = bench.lazy();
    for _ in 0..3 {
        store.record(&entry("a", "m", u64::MAX)).unwrap();
        assert_eq!(tokens(&store, "a"), i64::MAX as u64);
    }
    store.record(&entry("a", "m", 1)).unwrap();
    assert_eq!(tokens(&store, "a"), i64::MAX as u64);
    let used = block_on(store.usage(0, u32::MAX)).unwrap();
    assert_eq!(
        (used[0].used.usage.input, used[0].used.calls),
        (i64::MAX as u64, 4)
    );
}

#[test]
fn what_has_ended_is_removed_from_the_file() {
    let bench = Bench::new();
    let store = bench.store();
    let brief = Some(Duration::from_secs(5));
    block_on(store.put("kind", "brief", b"", brief, Expected::Anything)).unwrap();
    block_on(store.put("kind", "ever", b"", None, Expected::Anything)).unwrap();
    block_on(store.claim("brief", "x", Duration::from_secs(5))).unwrap();
    block_on(store.claim("long", "x", Duration::from_secs(50))).unwrap();
    drop(store);
    bench.advance(Duration::from_secs(6));

    let db = rusqlite::Connection::open(bench.path()).unwrap();
    records::sweep(&db, bench.clock.now()).unwrap();
    let rows = |query| {
        db.query_row(query, [], |row| row.get::<_, String>(0))
            .unwrap()
    };
    assert_eq!(rows("SELECT group_concat(key) FROM records"), "ever");
    assert_eq!(rows("SELECT group_concat(name) FROM claims"), "long");
}

#[test]
fn notices_that_were_removed_leave_a_gap() {
    let bench = Bench::new();
    let store = bench.store();
    let post = |many: usize| {
        let posts = (0..many).map(|_| store.post("topic", b""));
        block_on(futures::future::join_all(posts));
    };
    let prune = || {
        let db = rusqlite::Connection::open(bench.path()).unwrap();
        news::prune(&db, bench.clock.now()).unwrap();
    };
    let since = |after| block_on(store.since(after)).unwrap();

    post(2_000);
    bench.advance(Duration::from_secs(61));
    prune();
    assert!(!since(0).gap, "few are kept, however old");
    post(9_000);
    bench.advance(Duration::from_secs(59));
    prune();
    assert!(since(0).gap, "old ones beyond ten thousand go");
    assert!(since(999).gap, "one of them was not read");
    assert!(!since(1_000).gap, "all of them were read");
    assert_eq!(since(1_000).notices[0].id, 1_001);
    assert_eq!(since(0).notices[0].id, 1_001, "what is left is read");

    post(9_000);
    prune();
    assert_eq!(
        since(0).notices[0].id,
        2_001,
        "young ones stay, however many"
    );
    bench.advance(Duration::from_secs(3600));
    prune();
    assert_eq!(since(0).notices[0].id, 10_001);
    assert_eq!(block_on(store.latest()), Ok(20_000));
}

#[test]
fn many_may_ask_at_once() {
    let bench = Bench::new();
    let store = bench.store();
    let keys: Vec<String> = (0..3000).map(|at| format!("{at:04}")).collect();
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
