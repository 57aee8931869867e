//! Which credential a session keeps to, so that the provider's prompt cache is of use.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quick_cache::sync::Cache;
use tokio::sync::Notify;

use super::Credential;

/// Sessions remembered at most; those that were not used lately go first.
const SESSIONS: usize = 100_000;

/// As many changes wait to be told to the store at most: while it is away, others are not told.
const WAITING: usize = 10_000;

/// A session: a digest of its name and of who names it, so that nobody shares another's.
pub type Session = u128;

/// Sessions and their credentials. It outlives the configuration.
pub struct Affinity {
    pins: Cache<Session, Pin>,
    /// Other replicas have to hear of it.
    is_shared: AtomicBool,
    changes: Mutex<HashMap<Session, Change>>,
    changed: Notify,
}

#[derive(Clone)]
struct Pin {
    credential: Arc<str>,
    /// Of the last call, in milliseconds since 1970.
    used: u64,
    /// When the store was last told that it is used.
    told: u64,
}

/// What other replicas are to know of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub credential: Arc<str>,
    /// It kept to another one before.
    pub moved: bool,
}

impl Default for Affinity {
    fn default() -> Self {
        Self {
            pins: Cache::new(SESSIONS),
            is_shared: AtomicBool::new(false),
            changes: Mutex::default(),
            changed: Notify::new(),
        }
    }
}

impl Affinity {
    /// From now on, changes are noted to be told.
    pub fn share(&self) {
        self.is_shared.store(true, Ordering::Relaxed);
    }

    /// The id of the credential that served the session's last call, if that is not longer ago
    /// than `ttl`.
    pub fn find(&self, session: Session, now: u64, ttl: u64) -> Option<Arc<str>> {
        let pin = self.pins.get(&session)?;
        (now.saturating_sub(pin.used) < ttl).then_some(pin.credential)
    }

    /// The credential has served the session, which is forgotten `ttl` after its last call.
    pub fn pin(&self, session: Session, credential: &Credential, now: u64, ttl: u64) {
        let known = self.pins.get(&session);
        let known = known.filter(|pin| now.saturating_sub(pin.used) < ttl);
        let stays = known
            .as_ref()
            .is_some_and(|pin| pin.credential == credential.id);
        let told = known.as_ref().map_or(0, |pin| pin.told);
        let is_news = !stays || now.saturating_sub(told) >= ttl / 4;
        let pin = Pin {
            credential: credential.id.clone(),
            used: now,
            told: match is_news {
                true => now,
                false => told,
            },
        };
        self.pins.insert(session, pin);
        if is_news && self.is_shared.load(Ordering::Relaxed) {
            let change = Change {
                credential: credential.id.clone(),
                moved: known.is_some() && !stays,
            };
            self.note(session, change);
        }
    }

    /// Another replica says so.
    pub fn hear(&self, session: Session, credential: Arc<str>, now: u64) {
        let pin = Pin {
            credential,
            used: now,
            told: now,
        };
        self.pins.insert(session, pin);
    }

    /// The same, where the session is known here: who does not know it asks when it comes.
    pub fn hear_moved(&self, session: Session, credential: Arc<str>, now: u64) {
        if self.pins.get(&session).is_some() {
            self.hear(session, credential, now);
        }
    }

    /// What is known here may be another's by now: it is asked for anew.
    pub fn forget(&self) {
        self.pins.clear();
    }

    /// What is to be told, once there is something.
    pub async fn changes(&self) -> HashMap<Session, Change> {
        loop {
            let changes = std::mem::take(&mut *self.lock());
            if !changes.is_empty() {
                return changes;
            }
            self.changed.notified().await;
        }
    }

    /// It could not be told.
    pub fn untold(&self, changes: impl IntoIterator<Item = (Session, Change)>) {
        let mut waiting = self.lock();
        for (session, change) in changes {
            // What happened since then is newer.
            if waiting.len() < WAITING {
                waiting.entry(session).or_insert(change);
            }
        }
    }

    fn note(&self, session: Session, change: Change) {
        let mut waiting = self.lock();
        let moved = waiting.get(&session).is_some_and(|before| before.moved);
        if waiting.len() < WAITING || waiting.contains_key(&session) {
            let moved = moved || change.moved;
            waiting.insert(session, Change { moved, ..change });
            drop(waiting);
            self.changed.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Session, Change>> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
