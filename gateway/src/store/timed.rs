//! The store, with a look at the clock: how long it takes to answer, and whether it does. What stands on
//! the path of calls (`note`, `keep`) is passed through: its failures are told where it is called.

use std::sync::Arc;
use std::time::{Duration, Instant};

use turnpike_api::{
    Bulletin, Directory, Draw, Drawn, Entry, Expected, Ledger, Mark, News, Record, Spent, Store,
    StoreError, Stored, UsagePage, UsagePlace,
};

use crate::observe::metrics::Metrics;

pub struct Timed {
    store: Arc<dyn Store>,
    metrics: Metrics,
}

impl Timed {
    pub fn new(store: Arc<dyn Store>, metrics: Metrics) -> Self {
        Self { store, metrics }
    }

    /// An asker who goes away before there is an answer is not counted.
    fn timed<'a, T: 'a>(&'a self, operation: &'static str, asked: Stored<'a, T>) -> Stored<'a, T> {
        Box::pin(async move {
            let began = Instant::now();
            let answer = asked.await;
            self.metrics
                .store_answered(operation, answer.is_ok(), began.elapsed());
            answer
        })
    }
}

impl Ledger for Timed {
    fn note(&self, entry: &Entry<'_>) -> Mark {
        self.store.note(entry)
    }

    fn keep(&self, mark: Mark) -> Result<(), StoreError> {
        self.store.keep(mark)
    }

    fn spent<'a>(&'a self, credential: &'a str, period: u64) -> Stored<'a, Spent> {
        self.timed("spent", self.store.spent(credential, period))
    }

    fn forget_spent<'a>(&'a self, credential: &'a str, period: u64) -> Stored<'a, ()> {
        self.timed("forget_spent", self.store.forget_spent(credential, period))
    }

    fn usage_days(&self, from: u32, to: u32) -> Stored<'_, Vec<u32>> {
        self.timed("usage_days", self.store.usage_days(from, to))
    }

    fn usage_of(&self, day: u32, place: Option<UsagePlace>) -> Stored<'_, UsagePage> {
        self.timed("usage_of", self.store.usage_of(day, place))
    }

    fn share_usage(&self, now: u64, keep: Option<u32>) -> Stored<'_, ()> {
        self.timed("share_usage", self.store.share_usage(now, keep))
    }

    fn forget_usage(&self, day: u32) -> Stored<'_, ()> {
        self.timed("forget_usage", self.store.forget_usage(day))
    }

    fn draw<'a>(
        &'a self,
        replica: &'a str,
        lease: Duration,
        draws: &'a [Draw],
    ) -> Stored<'a, Drawn> {
        self.timed("draw", self.store.draw(replica, lease, draws))
    }
}

impl Directory for Timed {
    fn get<'a>(&'a self, kind: &'static str, key: &'a str) -> Stored<'a, Option<Record>> {
        self.timed("get", self.store.get(kind, key))
    }

    fn list(&self, kind: &'static str) -> Stored<'_, Vec<(String, Record)>> {
        self.timed("list", self.store.list(kind))
    }

    fn put<'a>(
        &'a self,
        kind: &'static str,
        key: &'a str,
        value: &'a [u8],
        ttl: Option<Duration>,
        expected: Expected,
    ) -> Stored<'a, Option<u64>> {
        self.timed("put", self.store.put(kind, key, value, ttl, expected))
    }

    fn remove<'a>(&'a self, kind: &'static str, key: &'a str) -> Stored<'a, bool> {
        self.timed("remove", self.store.remove(kind, key))
    }

    fn claim<'a>(&'a self, name: &'a str, holder: &'a str, ttl: Duration) -> Stored<'a, bool> {
        self.timed("claim", self.store.claim(name, holder, ttl))
    }

    fn release<'a>(&'a self, name: &'a str, holder: &'a str) -> Stored<'a, ()> {
        self.timed("release", self.store.release(name, holder))
    }
}

impl Bulletin for Timed {
    fn post<'a>(&'a self, topic: &'static str, body: &'a [u8]) -> Stored<'a, u64> {
        self.timed("post", self.store.post(topic, body))
    }

    fn since(&self, after: u64) -> Stored<'_, News> {
        self.timed("since", self.store.since(after))
    }

    fn latest(&self) -> Stored<'_, u64> {
        self.timed("latest", self.store.latest())
    }
}
