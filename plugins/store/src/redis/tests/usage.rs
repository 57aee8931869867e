//! What replicas tell each other of usage.

use std::cell::RefCell;
use std::path::PathBuf;

use tempfile::TempDir;
use turnpike_api::testing::conforming_store;
use turnpike_api::{DayUsage, Entry, Ledger, Payer, Usage, UsagePage};

use super::*;

const DAY: u64 = 24 * 60 * 60 * 1000;
const TODAY: u32 = 20_833;
const NOW: u64 = TODAY as u64 * DAY + 1000;

/// A replica's disk.
struct Disk(TempDir);

impl Disk {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("t.db")
    }

    fn replica(&self, server: &Server) -> Shared {
        self.with(server.store())
    }

    fn with(&self, redis: Redis) -> Shared {
        let counters = Embedded::open(&self.path(), Arc::new(Stopped)).unwrap();
        Shared::new(redis, counters)
    }
}

/// One replica, for the suite.
struct One {
    server: Server,
    disk: RefCell<Disk>,
}

impl StoreBench for One {
    fn open(&self) -> Box<dyn Store> {
        let () = self.server.ask(&["FLUSHALL"]);
        *self.disk.borrow_mut() = Disk::new();
        Box::new(self.disk.borrow().replica(&self.server))
    }

    fn reopen(&self, store: Box<dyn Store>) -> Box<dyn Store> {
        drop(store);
        Box::new(self.disk.borrow().replica(&self.server))
    }

    fn beside(&self) -> Box<dyn Store> {
        let counters = Embedded::open_beside(&self.disk.borrow().path(), Arc::new(Stopped));
        let counters = Arc::new(counters.unwrap());
        Box::new(Shared::beside(self.server.store(), counters))
    }

    fn advance(&self, by: Duration) {
        self.server.age(by);
    }
}

#[test]
fn a_replicas_store_conforms() {
    conforming_store(&One {
        server: Server::running(),
        disk: Disk::new().into(),
    });
}

fn record(store: &Shared, day: u32, token: &str, input: u64) {
    let entry = Entry {
        payer: Payer {
            tenant: "acme",
            token,
            ..Payer::default()
        },
        credential: "openai-1",
        model: "gpt-4o",
        at: u64::from(day) * DAY,
        period: 1,
        usage: Usage {
            input,
            ..Usage::default()
        },
        cost: Some(input * 3),
        estimated: false,
        calls: 1,
    };
    store.record(&entry).unwrap();
}

fn share(store: &Shared) {
    block_on(store.share_usage(NOW, Some(90))).unwrap();
}

/// Day, token, calls, input and cost.
type Row<'a> = (u32, &'a str, u64, u64, u64);

fn row(row: &DayUsage) -> Row<'_> {
    let used = row.used;
    (row.day, &row.token, used.calls, used.usage.input, used.cost)
}

fn assert_knows(store: &dyn Store, expected: &[Row<'_>], when: &str) {
    let rows = block_on(store.usage(0, u32::MAX)).unwrap();
    let rows: Vec<_> = rows.iter().map(row).collect();
    assert_eq!(rows, expected, "{when}");
}

#[test]
fn each_replica_knows_what_all_counted() {
    let server = Server::running();
    adds_up(|| server.store());
}

/// Over whatever Redis these are of.
pub(super) fn adds_up(redis: impl Fn() -> Redis) {
    let disks = [Disk::new(), Disk::new()];
    let [one, two] = disks.each_ref().map(|disk| disk.with(redis()));
    record(&one, TODAY, "key a", 5);
    record(&two, TODAY, "key a", 7);
    record(&two, TODAY - 1, "key b", 1);
    assert_knows(&one, &[(TODAY, "key a", 1, 5, 15)], "nothing was told");
    // As often as one likes: totals, which add nothing twice.
    for _ in 0..3 {
        share(&one);
        share(&two);
    }
    let both = [(TODAY - 1, "key b", 1, 1, 3), (TODAY, "key a", 2, 12, 36)];
    assert_knows(&one, &both, "told");
    assert_knows(&two, &both, "told");
    let looker = Shared::beside(redis(), Arc::new(two));
    assert_knows(&looker, &both, "by what was told alone");

    // What one has just counted, it knows before it tells.
    record(&one, TODAY, "key a", 100);
    let more = [(TODAY - 1, "key b", 1, 1, 3), (TODAY, "key a", 3, 112, 336)];
    assert_knows(&one, &more, "not told");
    assert_knows(&looker, &both, "not told");
    share(&one);
    assert_knows(&looker, &more, "told");
}

#[test]
fn a_replica_goes_on_with_its_disk_and_begins_without() {
    let server = Server::running();
    let (disk, other) = (Disk::new(), Disk::new());
    let looker = other.replica(&server);
    let store = disk.replica(&server);
    record(&store, TODAY, "key a", 5);
    share(&store);
    drop(store);
    let store = disk.replica(&server);
    record(&store, TODAY, "key a", 1);
    share(&store);
    let once = [(TODAY, "key a", 2, 6, 18)];
    assert_knows(&looker, &once, "the same replica");
    drop(store);
    drop(disk);

    // What was told outlives the disk.
    let disk = Disk::new();
    let store = disk.replica(&server);
    record(&store, TODAY, "key a", 10);
    share(&store);
    let more = [(TODAY, "key a", 3, 16, 48)];
    assert_knows(&looker, &more, "another replica");
    assert_knows(&store, &more, "another replica");
}

#[test]
fn a_redis_that_lost_everything_is_told_again() {
    let server = Server::running();
    let (disk, other) = (Disk::new(), Disk::new());
    let (store, looker) = (disk.replica(&server), other.replica(&server));
    for day in 0..70 {
        record(&store, TODAY - day, "key a", 1);
    }
    share(&store);
    let total = || {
        let rows = block_on(looker.usage(0, u32::MAX)).unwrap();
        rows.iter().map(|row| row.used.calls).sum::<u64>()
    };
    assert_eq!(total(), 70);
    let () = server.ask(&["FLUSHALL"]);
    assert_eq!(total(), 0);
    record(&store, TODAY, "key a", 1);
    share(&store);
    assert_eq!(total(), 2, "the day that changed is whole at once");
    (0..12).for_each(|_| share(&store));
    assert_eq!(total(), 71, "and within a minute all are");
}

#[test]
fn what_is_old_is_told_and_kept_no_more() {
    let server = Server::running();
    let disks = [Disk::new(), Disk::new()];
    let [one, two] = disks.each_ref().map(|disk| disk.replica(&server));
    for day in [TODAY - 91, TODAY - 90, TODAY] {
        record(&one, day, "key a", 1);
    }
    share(&one);
    let expected = [(TODAY - 90, "key a", 1, 1, 3), (TODAY, "key a", 1, 1, 3)];
    assert_knows(&two, &expected, "90 days");
    let id: Vec<String> = server.ask(&["ZRANGE", "turnpike:1:{usage}:days", "0", "-1"]);
    for member in id {
        let (day, replica) = member.split_once(' ').unwrap();
        let ttl: i64 = server.ask(&["TTL", &format!("turnpike:1:{{usage.{replica}}}:{day}")]);
        let days = (ttl as u64).div_ceil(DAY / 1000);
        assert_eq!(days, u64::from(day.parse::<u32>().unwrap() + 92 - TODAY));
    }
    block_on(two.forget_usage(TODAY)).unwrap();
    assert_knows(&two, &expected[1..], "forgotten by either");
    let keys: Vec<String> = server.ask(&["KEYS", "*{usage.*"]);
    assert_eq!(keys.len(), 1, "{keys:?}");
}

#[test]
fn a_long_day_is_told_in_parts() {
    let server = Server::running();
    let disks = [Disk::new(), Disk::new()];
    let [one, two] = disks.each_ref().map(|disk| disk.replica(&server));
    for n in 0..1_500_u64 {
        record(&one, TODAY, &format!("token {n}"), n);
        record(&two, TODAY, &format!("token {n}"), 1);
    }
    share(&one);
    share(&two);
    for store in [&one, &two] {
        let rows = block_on(store.usage(TODAY, TODAY)).unwrap();
        assert_eq!(rows.len(), 1_500);
        let input: u64 = rows.iter().map(|row| row.used.usage.input).sum();
        assert_eq!(input, 1_500 * 1_499 / 2 + 1_500);
    }
}

#[test]
fn without_a_redis_there_is_no_answer() {
    let server = Server::absent();
    let disk = Disk::new();
    let counters = Embedded::open(&disk.path(), Arc::new(Stopped)).unwrap();
    let redis = Redis::open(&Options {
        deadline: Duration::from_millis(20),
        connect_timeout: Duration::from_millis(20),
        ..server.options()
    });
    let store = Shared::new(redis.unwrap(), counters);
    record(&store, TODAY, "key a", 5);
    let days = block_on(store.usage_days(0, u32::MAX));
    assert!(matches!(days, Err(StoreError::Unavailable(_))), "{days:?}");
    let shared = block_on(store.share_usage(NOW, None));
    assert!(matches!(shared, Err(StoreError::Unavailable(_))));
    let own = block_on(store.usage_of(TODAY, None)).unwrap();
    assert_eq!(own.rows.len(), 1, "what it counted is there");
    let others: Result<UsagePage, _> = block_on(store.usage_of(TODAY, own.next));
    assert!(others.is_err(), "a part of the sum is no sum");
}
