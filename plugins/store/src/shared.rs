//! The store of one of many replicas: what they share is in a Redis, and what each counts is in a
//! file of its own.

mod publishing;

use std::sync::Arc;
use std::time::Duration;

use turnpike_api::{
    Bulletin, Directory, Draw, Drawn, Entry, Expected, Ledger, Mark, News, Record, Spent,
    StoreError, Stored, UsagePage, UsagePlace,
};

use crate::{Embedded, Redis};
use publishing::Own;

/// Records, claims, news, what is drawn of limits and everybody's usage of a Redis, with another
/// store's counters.
pub struct Shared {
    redis: Redis,
    counters: Arc<dyn Ledger>,
    /// A replica's; who only looks has none.
    own: Option<Own>,
}

impl Shared {
    /// A replica's.
    pub fn new(redis: Redis, counters: Embedded) -> Self {
        let counters = Arc::new(counters);
        Self {
            redis,
            own: Some(Own::new(counters.clone())),
            counters,
        }
    }

    /// A command's. Of usage it knows what replicas have told.
    pub fn beside(redis: Redis, counters: Arc<dyn Ledger>) -> Self {
        Self {
            redis,
            counters,
            own: None,
        }
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

    fn usage_days(&self, from: u32, to: u32) -> Stored<'_, Vec<u32>> {
        Box::pin(publishing::days(self.own.as_ref(), &self.redis, from, to))
    }

    fn usage_of(&self, day: u32, place: Option<UsagePlace>) -> Stored<'_, UsagePage> {
        let own = self.own.as_ref();
        Box::pin(publishing::page(own, &self.redis, day, place))
    }

    fn forget_usage(&self, day: u32) -> Stored<'_, ()> {
        Box::pin(async move {
            self.counters.forget_usage(day).await?;
            self.redis.usage().forget(day).await
        })
    }

    fn share_usage(&self, now: u64, keep: Option<u32>) -> Stored<'_, ()> {
        Box::pin(async move {
            match &self.own {
                Some(own) => own.share(&self.redis, now, keep).await,
                None => Ok(()),
            }
        })
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
