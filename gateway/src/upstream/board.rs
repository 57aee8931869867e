//! How all credentials stand. It outlives the configurations: a reload changes which credentials
//! there are, not what became of them.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

use super::Holder;
use super::standing::Standing;
use crate::clock::Time;

/// The standings of one process's credentials.
pub struct Board {
    pub time: Time,
    standings: Mutex<HashMap<Arc<str>, Arc<Standing>>>,
    /// Grows whenever a credential may have become ready, or stopped being so.
    epoch: AtomicU64,
    changed: watch::Sender<u64>,
    /// Whose cooldowns are not written down yet.
    unwritten: Mutex<BTreeSet<Arc<str>>>,
    written_to: Notify,
}

impl Board {
    pub fn new(time: Time) -> Self {
        Self {
            time,
            standings: Mutex::default(),
            epoch: AtomicU64::new(0),
            changed: watch::Sender::new(0),
            unwritten: Mutex::default(),
            written_to: Notify::new(),
        }
    }

    /// The standing of the credential with this secret: the one in force, its successor, or a new
    /// one. Calls under way go on with their own.
    pub fn standing(&self, id: &Arc<str>, holder: Holder) -> Arc<Standing> {
        match self.find(id) {
            Some(standing) if standing.holder == holder => standing,
            Some(standing) => Arc::new(standing.successor(holder)),
            None => Arc::new(Standing::new(id.clone(), holder)),
        }
    }

    /// Puts a standing in force. Answers with the one that was before, if it was another.
    pub fn enter(&self, standing: &Arc<Standing>) -> Option<Arc<Standing>> {
        let entered = lock(&self.standings).insert(standing.id.clone(), standing.clone());
        entered.filter(|before| !Arc::ptr_eq(before, standing))
    }

    /// The credential's standing, if anything was ever known of it.
    pub fn find(&self, id: &str) -> Option<Arc<Standing>> {
        lock(&self.standings).get(id).cloned()
    }

    /// Every standing.
    pub fn standings(&self) -> Vec<Arc<Standing>> {
        lock(&self.standings).values().cloned().collect()
    }

    /// Forgets the standings that no configuration holds any more and that say nothing.
    pub fn sweep(&self) {
        lock(&self.standings).retain(|_, standing| {
            Arc::strong_count(standing) > 1 || !standing.cooldowns().is_empty()
        });
    }

    /// Which state of affairs this is: what was worked out in an earlier one may be stale.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// A credential may have become ready, or stopped being so.
    pub fn changed(&self) {
        let epoch = self.epoch.fetch_add(1, Ordering::AcqRel) + 1;
        self.changed.send_replace(epoch);
    }

    /// The same, and its cooldowns are to be written down.
    pub fn cooldowns_changed(&self, standing: &Standing) {
        lock(&self.unwritten).insert(standing.id.clone());
        self.written_to.notify_one();
        self.changed();
    }

    /// To be told of changes. What was `changed` before this call is not told.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// How many wait to be told of changes.
    pub fn watchers(&self) -> usize {
        self.changed.receiver_count()
    }

    /// The ids of credentials whose cooldowns changed and are to be written down.
    pub fn take_unwritten(&self) -> BTreeSet<Arc<str>> {
        std::mem::take(&mut *lock(&self.unwritten))
    }

    /// Waits for some.
    pub async fn unwritten(&self) -> BTreeSet<Arc<str>> {
        loop {
            let unwritten = self.take_unwritten();
            if !unwritten.is_empty() {
                return unwritten;
            }
            self.written_to.notified().await;
        }
    }

    /// Puts ids back that could not be written.
    pub fn still_unwritten(&self, ids: impl IntoIterator<Item = Arc<str>>) {
        lock(&self.unwritten).extend(ids);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
