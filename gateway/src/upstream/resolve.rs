//! DNS, cached. Pingora's own peer type resolves while it blocks its thread, and panics on failure.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::OnceCell;

/// The system's resolver gives no time to live. Half a minute follows a fail-over by DNS soon
/// enough, and connections are reused for longer than that anyway.
const LIFETIME: Duration = Duration::from_secs(30);

/// Names beyond this many are resolved each time: only configuration names hosts, so it is never
/// reached but by mistake.
const CAPACITY: usize = 1024;

type Key = (Box<str>, u16);
type Lookup = Arc<OnceCell<Arc<[SocketAddr]>>>;

/// Addresses by host and port. Look-ups of one name at the same time are one look-up.
#[derive(Debug, Default)]
pub struct Resolver {
    cache: Mutex<HashMap<Key, (Instant, Lookup)>>,
}

impl Resolver {
    /// The addresses of `host`, best first. Never empty.
    pub async fn lookup(&self, host: &str, port: u16) -> io::Result<Arc<[SocketAddr]>> {
        let lookup = self.entry(host, port);
        let resolved = lookup
            .get_or_try_init(|| async {
                let found: Arc<[SocketAddr]> =
                    tokio::net::lookup_host((host, port)).await?.collect();
                if found.is_empty() {
                    return Err(io::Error::new(
                        io::ErrorKind::NotFound,
                        "the name has no address",
                    ));
                }
                Ok(found)
            })
            .await?;
        Ok(resolved.clone())
    }

    fn entry(&self, host: &str, port: u16) -> Lookup {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (host.into(), port);
        match cache.get(&key) {
            Some((since, lookup)) if since.elapsed() < LIFETIME => lookup.clone(),
            _ => {
                let fresh = Lookup::default();
                if cache.len() < CAPACITY || cache.contains_key(&key) {
                    cache.insert(key, (Instant::now(), fresh.clone()));
                }
                fresh
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    async fn a_failure_is_not_remembered() {
        let resolver = Resolver::default();
        assert!(resolver.lookup("no-such-host.invalid", 80).await.is_err());
        let cached = resolver.entry("no-such-host.invalid", 80);
        assert!(!cached.initialized());
    }
}
