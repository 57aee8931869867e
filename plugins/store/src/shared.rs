//! The store of one of many replicas: what they share is in a Redis, and what each counts is in a
//! file of its own.

use std::sync::Arc;
use std::time::Duration;

use turnpike_api::{
    Bulletin, DayUsage, Directory, Draw, Drawn, Entry, Expected, Ledger, Mark, News, Record, Spent,
    StoreError, Stored,
};

use crate::Redis;

/// Records, claims, news and what is drawn of limits of a Redis, with another store's counters.
pub struct Shared {
    redis: Redis,
    counters: Arc<dyn Ledger>,
}

impl Shared {
    pub fn new(redis: Redis, counters: Arc<dyn Ledger>) -> Self {
        Self { redis, counters }
    }
}

impl Ledger for Shared {
    fn note(&self, entry: &Entry<'_>) -> Mark {
        self.counters.note(entry)
    }

    fn keep(&self, mark: Mark) -> Result<(), StoreError> {
        self.counters.keep(mark)
    }

    fn spent<'a>(&'a self, credential: &'a str, period: u64) -> Stored<'a, Spent> {
        self.counters.spent(credential, period)
    }

    fn forget_spent<'a>(&'a self, credential: &'a str, period: u64) -> Stored<'a, ()> {
        self.counters.forget_spent(credential, period)
    }

    fn usage(&self, from: u32, to: u32) -> Stored<'_, Vec<DayUsage>> {
        self.counters.usage(from, to)
    }

    fn forget_usage(&self, day: u32) -> Stored<'_, ()> {
        self.counters.forget_usage(day)
    }

    fn draw<'a>(
        &'a self,
        replica: &'a str,
        lease: Duration,
        draws: &'a [Draw],
    ) -> Stored<'a, Drawn> {
        self.redis.draw(replica, lease, draws)
    }
}

impl Directory for Shared {
    fn get<'a>(&'a self, kind: &'static str, key: &'a str) -> Stored<'a, Option<Record>> {
        self.redis.get(kind, key)
    }

    fn list(&self, kind: &'static str) -> Stored<'_, Vec<(String, Record)>> {
        self.redis.list(kind)
    }

    fn put<'a>(
        &'a self,
        kind: &'static str,
        key: &'a str,
        value: &'a [u8],
        ttl: Option<Duration>,
        expected: Expected,
    ) -> Stored<'a, Option<u64>> {
        self.redis.put(kind, key, value, ttl, expected)
    }

    fn remove<'a>(&'a self, kind: &'static str, key: &'a str) -> Stored<'a, bool> {
        self.redis.remove(kind, key)
    }

    fn claim<'a>(&'a self, name: &'a str, holder: &'a str, ttl: Duration) -> Stored<'a, bool> {
        self.redis.claim(name, holder, ttl)
    }

    fn release<'a>(&'a self, name: &'a str, holder: &'a str) -> Stored<'a, ()> {
        self.redis.release(name, holder)
    }
}

impl Bulletin for Shared {
    fn post<'a>(&'a self, topic: &'static str, body: &'a [u8]) -> Stored<'a, u64> {
        self.redis.post(topic, body)
    }

    fn since(&self, after: u64) -> Stored<'_, News> {
        self.redis.since(after)
    }

    fn latest(&self) -> Stored<'_, u64> {
        self.redis.latest()
    }
}
