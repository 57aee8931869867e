//! How serving ends, in stages: nobody is refused who could not know yet, and what is under way goes on.
//!
//! 1. *Begun*: `/ready` says 503. New connections and requests are served as before, but whoever asks is
//!    told to come on another connection the next time: HTTP/1 by `Connection: close`, HTTP/2 by GOAWAY.
//! 2. *Closed*: nobody listens any more, and connections without a request are closed.
//! 3. *Cut*: what is still under way ends with an error in its dialect.
//!
//! `boot.rs` goes from stage to stage; the listener, the connections and the calls ask here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pingora::server::ShutdownWatch;
use tokio::sync::{Notify, watch};
use turnpike_config::plan::DrainPlan;

use crate::listener::Open;

/// How long it may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    pub lame_duck: Duration,
    /// From then on.
    pub limit: Duration,
}

/// Somebody waits before a terminal, and nobody has to be told to send no more.
const AT_A_TERMINAL: Duration = Duration::from_secs(10);

impl Terms {
    /// As the configuration says: something supervises the process.
    pub fn supervised(plan: DrainPlan) -> Self {
        let DrainPlan { lame_duck, limit } = plan;
        Self { lame_duck, limit }
    }

    pub fn at_a_terminal(plan: DrainPlan) -> Self {
        Self {
            lame_duck: Duration::ZERO,
            limit: plan.limit.min(AT_A_TERMINAL),
        }
    }
}

/// Which stage it is.
pub struct Drain {
    is_begun: AtomicBool,
    is_closed: AtomicBool,
    is_cut: AtomicBool,
    /// Connections of before the end begins hear of it by this,
    begun: watch::Sender<bool>,
    /// and those of after it by this, a moment after nobody listens any more: they would not serve a
    /// single request otherwise.
    late: watch::Sender<bool>,
    /// Connections without a request wait for it.
    closing: Notify,
    /// The proxy's connections.
    pub open: Arc<Open>,
}

impl Default for Drain {
    fn default() -> Self {
        Self {
            is_begun: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
            is_cut: AtomicBool::new(false),
            begun: watch::Sender::new(false),
            late: watch::Sender::new(false),
            closing: Notify::new(),
            open: Arc::default(),
        }
    }
}

impl Drain {
    pub fn begin(&self) {
        self.is_begun.store(true, Ordering::Release);
        self.begun.send_replace(true);
    }

    pub fn close(&self) {
        self.begin();
        self.is_closed.store(true, Ordering::Release);
        self.closing.notify_waiters();
    }

    /// Whoever connected while it closed has had time to ask.
    pub fn hurry(&self) {
        self.late.send_replace(true);
    }

    pub fn cut(&self) {
        self.close();
        self.hurry();
        self.is_cut.store(true, Ordering::Release);
    }

    pub fn is_begun(&self) -> bool {
        self.is_begun.load(Ordering::Acquire)
    }

    pub fn is_cut(&self) -> bool {
        self.is_cut.load(Ordering::Acquire)
    }

    /// Returns when nobody listens any more.
    pub async fn until_closed(&self) {
        // Before the look: what happens after it is not missed.
        let closing = self.closing.notified();
        if !self.is_closed.load(Ordering::Acquire) {
            closing.await;
        }
    }

    /// What an HTTP/2 connection that opens now is told the end by.
    pub fn watch(&self) -> ShutdownWatch {
        let begun = self.begun.subscribe();
        // After that: a beginning in between is heard of.
        if !self.is_begun() {
            return begun;
        }
        let mut late = self.late.subscribe();
        // What was said before counts for who subscribes after it.
        if *late.borrow() {
            late.mark_changed();
        }
        late
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn connections_hear_of_the_end_when_they_should() {
        let drain = Drain::default();
        let mut before = drain.watch();
        drain.begin();
        before.changed().await.unwrap();
        let mut after = drain.watch();
        assert!(!after.has_changed().unwrap(), "it is served first");
        drain.close();
        assert!(!after.has_changed().unwrap(), "it has just connected");
        drain.hurry();
        after.changed().await.unwrap();
        drain.watch().changed().await.unwrap();
        drain.until_closed().await;
        assert!(!drain.is_cut());
    }

    #[test]
    fn a_terminal_is_not_kept_waiting() {
        let plan = DrainPlan {
            lame_duck: Duration::from_secs(5),
            limit: Duration::from_secs(600),
        };
        let terms = Terms::at_a_terminal(plan);
        assert_eq!(terms.lame_duck, Duration::ZERO);
        assert!(terms.limit < plan.limit);
        assert_eq!(Terms::supervised(plan).limit, plan.limit);
    }
}
