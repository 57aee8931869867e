//! Why calls were refused: the latest decisions, found again by the id that the caller was told.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use crate::context::RequestId;
use crate::refusal::{Refusal, Told};

/// As many are remembered.
const REMEMBERED: usize = 10_000;

/// A refusal, and of whom.
#[derive(Clone, Debug)]
pub struct Decision {
    pub id: RequestId,
    /// The request's id, which the caller may have chosen.
    pub request: RequestId,
    /// In milliseconds since 1970.
    pub at: u64,
    pub status: u16,
    pub reason: &'static str,
    pub message: String,
    /// Whose call it was, where that is known.
    pub caller: Option<Box<str>>,
    pub model: Option<Arc<str>>,
    /// The limit that fell, where one did.
    pub limit: Option<Told>,
}

/// The latest decisions.
#[derive(Default)]
pub struct Decisions(Mutex<VecDeque<Arc<Decision>>>);

impl Decisions {
    /// Remembers one, in the place of the oldest where there is no more room.
    pub fn remember(&self, decision: Decision) {
        let mut decisions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if decisions.len() >= REMEMBERED {
            decisions.pop_front();
        }
        decisions.push_back(Arc::new(decision));
    }

    /// The decision of this id.
    pub fn find(&self, id: &str) -> Option<Arc<Decision>> {
        let decisions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut latest = decisions.iter().rev();
        latest.find(|decision| decision.id.as_str() == id).cloned()
    }

    /// The latest, newest first.
    pub fn latest(&self, most: usize) -> Vec<Arc<Decision>> {
        let decisions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        decisions.iter().rev().take(most).cloned().collect()
    }
}

impl Decision {
    /// Of a refusal.
    pub fn of(refusal: &Refusal, record: &crate::record::Record, at: u64) -> Self {
        let words = refusal.reason.words();
        Self {
            id: record.decision.clone(),
            request: record.id.clone(),
            at,
            status: refusal.status(),
            reason: words.reason,
            message: refusal.message.to_string(),
            caller: record.identity.as_ref().map(|of| of.name.clone()),
            model: record.model.clone(),
            limit: refusal.limit.as_deref().cloned(),
        }
    }
}
