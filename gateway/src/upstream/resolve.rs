//! DNS, cached. Pingora's own peer type resolves while it blocks its thread, and panics on failure.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// The system's resolver gives no time to live. Half a minute follows a fail-over by DNS soon
/// enough, and connections are reused for longer than that anyway.
const LIFETIME: Duration = Duration::from_secs(30);

/// Between a refresh that failed and the next one.
const PAUSE: Duration = Duration::from_secs(2);

/// Names beyond this many are resolved each time: only configuration names hosts, so it is never
/// reached but by mistake.
const CAPACITY: usize = 1024;

type Key = (Box<str>, u16);
type Addresses = Arc<[SocketAddr]>;
type Answer = Result<Addresses, Arc<io::Error>>;
type Cache = Mutex<HashMap<Key, Entry>>;
type Found = io::Result<Vec<SocketAddr>>;
type Finding = Pin<Box<dyn Future<Output = Found> + Send>>;
type LookUp = Arc<dyn Fn(Key) -> Finding + Send + Sync>;

/// Addresses by host and port. Look-ups of one name at the same time are one look-up. Addresses
/// once found are served until newer ones are: a resolver that is slow or down for a while stops
/// nothing.
pub struct Resolver {
    cache: Arc<Cache>,
    look_up: LookUp,
}

/// One name.
struct Entry {
    known: Option<Addresses>,
    refresh_at: Instant,
    /// The look-up begun last; its sender is gone once it is over, however it ended.
    latest: watch::Receiver<Option<Answer>>,
}

impl Entry {
    fn is_resolving(&self) -> bool {
        self.latest.has_changed().is_ok()
    }
}

impl Default for Resolver {
    fn default() -> Self {
        Self::new(|(host, port)| {
            Box::pin(async move {
                let found = tokio::net::lookup_host((&*host, port)).await?;
                Ok(found.collect())
            })
        })
    }
}

impl Resolver {
    fn new(look_up: impl Fn(Key) -> Finding + Send + Sync + 'static) -> Self {
        Self {
            cache: Arc::default(),
            look_up: Arc::new(look_up),
        }
    }

    /// The addresses of `host`, best first. Never empty. Waits only while none are known.
    pub async fn lookup(&self, host: &str, port: u16) -> Answer {
        let mut outcome = match self.known_or_begun((host.into(), port)) {
            Ok(known) => return Ok(known),
            Err(outcome) => outcome,
        };
        let answer = outcome.wait_for(Option::is_some).await;
        answer
            .ok()
            .and_then(|answer| answer.clone())
            .unwrap_or_else(|| Err(failure("the look-up was given up")))
    }

    /// What is known, with a refresh begun when it is due; or else the look-up to wait for.
    fn known_or_begun(&self, key: Key) -> Result<Addresses, watch::Receiver<Option<Answer>>> {
        let mut cache = lock(&self.cache);
        let full = cache.len() >= CAPACITY;
        let Some(entry) = cache.get_mut(&key) else {
            let latest = self.begin(key.clone());
            if !full {
                let entry = Entry {
                    known: None,
                    refresh_at: Instant::now(),
                    latest: latest.clone(),
                };
                cache.insert(key, entry);
            }
            return Err(latest);
        };
        let due = entry.known.is_none() || entry.refresh_at <= Instant::now();
        if due && !entry.is_resolving() {
            entry.latest = self.begin(key);
        }
        entry.known.clone().ok_or_else(|| entry.latest.clone())
    }

    /// In a task of its own, so that a caller who leaves takes no one else's look-up along.
    fn begin(&self, key: Key) -> watch::Receiver<Option<Answer>> {
        let (sender, receiver) = watch::channel(None);
        let cache = self.cache.clone();
        let look_up = (self.look_up)(key.clone());
        tokio::spawn(async move {
            let answer = match look_up.await {
                Ok(found) if found.is_empty() => Err(failure("the name has no address")),
                Ok(found) => Ok(found.into()),
                Err(error) => Err(Arc::new(error)),
            };
            remember(&cache, &key, &answer);
            sender.send_replace(Some(answer));
        });
        receiver
    }
}

/// A failure leaves the addresses that are known.
fn remember(cache: &Cache, key: &Key, answer: &Answer) {
    let mut cache = lock(cache);
    let Some(entry) = cache.get_mut(key) else {
        return;
    };
    match answer {
        Ok(found) => {
            entry.known = Some(found.clone());
            entry.refresh_at = Instant::now() + LIFETIME;
        }
        Err(error) => {
            entry.refresh_at = Instant::now() + PAUSE;
            if entry.known.is_some() {
                tracing::debug!(host = %key.0, %error, "its last addresses stay in use");
            }
        }
    }
}

fn failure(why: &'static str) -> Arc<io::Error> {
    Arc::new(io::Error::new(io::ErrorKind::NotFound, why))
}

fn lock(cache: &Cache) -> MutexGuard<'_, HashMap<Key, Entry>> {
    cache.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use futures::FutureExt;
    use tokio::sync::oneshot;

    use super::*;

    type Begun = Arc<Mutex<VecDeque<oneshot::Sender<Found>>>>;

    /// A resolver whose look-ups end as, and when, the test says.
    struct Bench {
        resolver: Resolver,
        begun: Begun,
    }

    impl Bench {
        fn new() -> Self {
            let begun = Begun::default();
            let list = begun.clone();
            let resolver = Resolver::new(move |_| {
                let (sender, receiver) = oneshot::channel();
                list.lock().unwrap().push_back(sender);
                Box::pin(async move { receiver.await.unwrap() })
            });
            Self { resolver, begun }
        }

        fn under_way(&self) -> usize {
            self.begun.lock().unwrap().len()
        }

        fn addresses(&self) -> Option<Answer> {
            self.resolver.lookup("host", 80).now_or_never()
        }

        /// Ends the oldest look-up under way, and waits until it is over.
        async fn end(&self, result: Found) {
            let sender = self.begun.lock().unwrap().pop_front().unwrap();
            sender.send(result).unwrap();
            while self.entry(|entry| entry.is_resolving()) {
                tokio::task::yield_now().await;
            }
        }

        fn expire(&self) {
            self.entry(|entry| entry.refresh_at = Instant::now());
        }

        fn entry<T>(&self, with: impl FnOnce(&mut Entry) -> T) -> T {
            with(lock(&self.resolver.cache).values_mut().next().unwrap())
        }
    }

    fn address(last: u8) -> SocketAddr {
        ([192, 0, 2, last], 80).into()
    }

    fn found(last: u8) -> Option<Answer> {
        Some(Ok(Arc::new([address(last)])))
    }

    fn same(left: Option<Answer>, right: Option<Answer>) -> bool {
        left.map(Result::unwrap) == right.map(Result::unwrap)
    }

    fn down() -> Found {
        Err(io::Error::other("down"))
    }

    #[tokio::test]
    async fn resolves_and_remembers() {
        let resolver = Resolver::default();
        let first = resolver.lookup("localhost", 80).await.unwrap();
        let second = resolver.lookup("localhost", 80).await.unwrap();
        assert!(first.iter().all(|addr| addr.ip().is_loopback()));
        assert!(
            Arc::ptr_eq(&first, &second),
            "the second answer was not the first one's"
        );
    }

    #[tokio::test]
    async fn callers_share_the_first_look_up() {
        let bench = Bench::new();
        let (one, two, ()) = tokio::join!(
            bench.resolver.lookup("host", 80),
            bench.resolver.lookup("host", 80),
            async {
                assert_eq!(bench.under_way(), 1);
                bench.end(Ok(vec![address(1)])).await;
            }
        );
        assert!(Arc::ptr_eq(&one.unwrap(), &two.unwrap()));
        assert!(bench.addresses().is_some());
        assert_eq!(bench.under_way(), 0);
    }

    #[tokio::test]
    async fn a_caller_who_leaves_does_not_end_the_look_up() {
        let bench = Bench::new();
        assert!(bench.addresses().is_none());
        bench.end(Ok(vec![address(1)])).await;
        assert!(same(bench.addresses(), found(1)));
    }

    #[tokio::test]
    async fn a_first_failure_reaches_every_waiter_and_is_not_remembered() {
        let bench = Bench::new();
        let (one, two, ()) = tokio::join!(
            bench.resolver.lookup("host", 80),
            bench.resolver.lookup("host", 80),
            bench.end(down())
        );
        assert!(one.is_err() && two.is_err());
        assert!(bench.addresses().is_none());
        bench.end(Ok(Vec::new())).await;
        assert!(bench.addresses().is_none(), "no address is no answer");
        bench.end(Ok(vec![address(1)])).await;
        assert!(same(bench.addresses(), found(1)));
    }

    #[tokio::test]
    async fn old_addresses_serve_while_one_refresh_runs() {
        let bench = Bench::new();
        bench.addresses();
        bench.end(Ok(vec![address(1)])).await;
        bench.expire();
        for _ in 0..3 {
            assert!(same(bench.addresses(), found(1)));
        }
        assert_eq!(bench.under_way(), 1);
        bench.end(Ok(vec![address(2)])).await;
        assert!(same(bench.addresses(), found(2)));
        assert_eq!(bench.under_way(), 0);
    }

    #[tokio::test]
    async fn a_failed_refresh_keeps_the_addresses_and_is_tried_again_later() {
        let bench = Bench::new();
        bench.addresses();
        bench.end(Ok(vec![address(1)])).await;
        bench.expire();
        bench.addresses();
        bench.end(down()).await;
        assert!(same(bench.addresses(), found(1)));
        assert_eq!(bench.under_way(), 0, "it was tried again at once");
        bench.expire();
        assert!(same(bench.addresses(), found(1)));
        bench.end(Ok(vec![address(2)])).await;
        assert!(same(bench.addresses(), found(2)));
    }
}
