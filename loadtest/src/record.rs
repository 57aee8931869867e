//! What the provider remembers of the calls it got.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, Method, Version};
use tokio::sync::watch;

/// One call as it arrived. It is kept once its body has been read (or as much
/// of it as the behaviour reads), before anything is answered.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// 1 for the provider's first call, 2 for the next.
    pub id: u64,
    /// Empty when the call brought none.
    pub key: String,
    pub method: Method,
    pub path_and_query: String,
    pub version: Version,
    pub headers: HeaderMap,
    pub body_len: usize,
    /// Hex of the body that was read.
    pub body_blake3: String,
    /// Empty above 64 KiB, unless `Options::keep_bodies`.
    pub body: Bytes,
    /// Which TCP connection, counted from 1.
    pub connection_id: u64,
    pub arrived: Instant,
    pub outcome: Outcome,
}

impl Recorded {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// How a call ended, seen from the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Still being answered.
    Open,
    /// The whole answer was handed to the connection.
    Delivered,
    /// The behaviour broke it off.
    Cut,
    /// The caller closed the connection or reset the stream first.
    CallerGone { at: Instant },
}

#[derive(Default)]
struct Pages {
    calls: Vec<Recorded>,
    /// Outcomes by id, kept when the calls are taken.
    outcomes: Vec<(u64, Outcome)>,
}

pub(crate) struct Journal {
    pages: Mutex<Pages>,
    changed: watch::Sender<()>,
}

impl Default for Journal {
    fn default() -> Self {
        Self {
            pages: Mutex::default(),
            changed: watch::Sender::new(()),
        }
    }
}

impl Journal {
    pub(crate) fn add(&self, call: Recorded) {
        self.lock().calls.push(call);
        self.changed.send_replace(());
    }

    pub(crate) fn close(&self, id: u64, outcome: Outcome) {
        let mut pages = self.lock();
        pages.outcomes.push((id, outcome));
        if let Some(call) = pages.calls.iter_mut().rev().find(|call| call.id == id) {
            call.outcome = outcome;
        }
        drop(pages);
        self.changed.send_replace(());
    }

    pub(crate) fn calls(&self) -> Vec<Recorded> {
        self.lock().calls.clone()
    }

    pub(crate) fn take(&self) -> Vec<Recorded> {
        std::mem::take(&mut self.lock().calls)
    }

    pub(crate) fn count(&self) -> usize {
        self.lock().calls.len()
    }

    pub(crate) async fn until_calls(&self, calls: usize) {
        self.until(|pages| (pages.calls.len() >= calls).then_some(()))
            .await;
    }

    pub(crate) async fn outcome(&self, id: u64) -> Outcome {
        let of_id = |pages: &Pages| {
            pages
                .outcomes
                .iter()
                .rev()
                .find(|(of, _)| *of == id)
                .copied()
        };
        self.until(of_id).await.1
    }

    async fn until<T>(&self, mut look: impl FnMut(&Pages) -> Option<T>) -> T {
        let mut changed = self.changed.subscribe();
        loop {
            if let Some(seen) = look(&self.lock()) {
                return seen;
            }
            // Cannot end: the sender lives in self.
            let _ = changed.changed().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
