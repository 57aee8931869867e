//! Why calls were refused: the latest decisions, found again by the id that the caller was told.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::context::{Context, RequestId};
use crate::refusal::{Refusal, Told};

/// As many are remembered of callers who are known.
const REMEMBERED: usize = 10_000;

/// As many of those who are not: whoever tries keys does not push out what others are asked about.
const OF_STRANGERS: usize = 1_000;

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
    /// For whom the caller acts, or whose host was called; `None` = no tenant's.
    pub tenant: Option<Arc<str>>,
    /// Whose call it was, where that is known.
    pub caller: Option<Box<str>>,
    pub model: Option<Arc<str>>,
    /// The limit that fell, where one did.
    pub limit: Option<Told>,
}

/// The latest decisions.
#[derive(Default)]
pub struct Decisions {
    of_known: Latest,
    of_strangers: Latest,
}

type Latest = Mutex<VecDeque<Arc<Decision>>>;

impl Decisions {
    /// Remembers one, in the place of the oldest where there is no more room.
    pub fn remember(&self, decision: Decision) {
        let (latest, most) = match decision.caller {
            Some(_) => (&self.of_known, REMEMBERED),
            None => (&self.of_strangers, OF_STRANGERS),
        };
        let mut latest = lock(latest);
        if latest.len() >= most {
            latest.pop_front();
        }
        latest.push_back(Arc::new(decision));
    }

    /// The decision of this id.
    pub fn find(&self, id: &str) -> Option<Arc<Decision>> {
        let find = |latest: &Latest| {
            let latest = lock(latest);
            let mut newest = latest.iter().rev();
            newest.find(|decision| decision.id.as_str() == id).cloned()
        };
        find(&self.of_known).or_else(|| find(&self.of_strangers))
    }

    /// The latest of those that are meant, newest first.
    pub fn latest(&self, most: usize, is_meant: impl Fn(&Decision) -> bool) -> Vec<Arc<Decision>> {
        let newest = |latest: &Latest| -> Vec<_> {
            let latest = lock(latest);
            let meant = latest.iter().rev().filter(|one| is_meant(one));
            meant.take(most).cloned().collect()
        };
        let mut latest = newest(&self.of_known);
        latest.append(&mut newest(&self.of_strangers));
        latest.sort_by_key(|decision| Reverse(decision.at));
        latest.truncate(most);
        latest
    }
}

fn lock(latest: &Latest) -> MutexGuard<'_, VecDeque<Arc<Decision>>> {
    latest.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A link to log in by is for who was refused, and for nobody who reads about it.
fn without_link(message: &str) -> String {
    let word = |word: &str| match word.contains("/auth/") {
        true => "…".to_owned(),
        false => word.to_owned(),
    };
    message.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

impl Decision {
    /// Of a refusal.
    pub fn of(refusal: &Refusal, context: &Context<'_>, at: u64) -> Self {
        let record = &context.record;
        let words = refusal.reason.words();
        Self {
            id: record.decision.clone(),
            request: record.id.clone(),
            at,
            status: refusal.status(),
            reason: words.reason,
            message: without_link(&refusal.message),
            tenant: context.whose().name.clone(),
            caller: record.identity.as_ref().map(|of| of.name.clone()),
            model: record.model.clone(),
            limit: refusal.limit.as_deref().cloned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_to_log_in_by_is_left_out() {
        let message = "log in at https://llm.example.com/auth/login?t=secret, then try again";
        assert_eq!(without_link(message), "log in at … then try again");
        assert_eq!(without_link("the limit \"x\" fell"), "the limit \"x\" fell");
    }
}
