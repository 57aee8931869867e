//! Which credential a session keeps to, so that the provider's prompt cache is of use.

use std::sync::Arc;

use quick_cache::sync::Cache;

use super::Credential;

/// Sessions remembered at most; those that were not used lately go first.
const SESSIONS: usize = 100_000;

/// A session: a digest of its name and of who names it, so that nobody shares another's.
pub type Session = u128;

/// Sessions and their credentials. It outlives the configuration.
pub struct Affinity {
    pins: Cache<Session, Pin>,
}

#[derive(Clone)]
struct Pin {
    credential: Arc<str>,
    /// Of the last call, in milliseconds since 1970.
    used: u64,
}

impl Default for Affinity {
    fn default() -> Self {
        Self {
            pins: Cache::new(SESSIONS),
        }
    }
}

impl Affinity {
    /// The id of the credential that served the session's last call, if that is not longer ago
    /// than `ttl`.
    pub fn find(&self, session: Session, now: u64, ttl: u64) -> Option<Arc<str>> {
        let pin = self.pins.get(&session)?;
        (now.saturating_sub(pin.used) < ttl).then_some(pin.credential)
    }

    /// The credential has served the session.
    pub fn pin(&self, session: Session, credential: &Credential, now: u64) {
        let pin = Pin {
            credential: credential.id.clone(),
            used: now,
        };
        self.pins.insert(session, pin);
    }
}
