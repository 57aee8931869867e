//! How serving ends, in stages: nobody is refused who could not know yet, and what is under way goes on.
//!
//! 1. *Begun*: `/ready` says 503. New connections and requests are served as before, but whoever asks is
//!    told to come on another connection the next time: HTTP/1 by `Connection: close`, HTTP/2 by GOAWAY.
//! 2. *Closed*: nobody listens any more, and connections without a request are closed.
//! 3. *Cut*: what is still under way ends with an error in its dialect. An upload is read no further; who
//!    reads slowly has a little time left to read what they are told.
//! 4. *Left*: who has not read it by then is not waited for.
//!
//! `stop.rs` goes from stage to stage; the listener, the connections and the calls ask here.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
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

/// What comes once, and can be waited for.
#[derive(Default)]
struct Moment {
    has_come: AtomicBool,
    waiting: Notify,
}

impl Moment {
    fn come(&self) {
        self.has_come.store(true, Ordering::Release);
        self.waiting.notify_waiters();
    }

    fn has_come(&self) -> bool {
        self.has_come.load(Ordering::Acquire)
    }

    async fn awaited(&self) {
        // Before the look: what happens after it is not missed.
        let coming = self.waiting.notified();
        if !self.has_come() {
            coming.await;
        }
    }
}

/// Which stage it is.
pub struct Drain {
    /// Connections of before the end begins hear of it by this,
    begun: watch::Sender<bool>,
    /// and those of after it by this, a moment after nobody listens any more: they would not serve a
    /// single request otherwise.
    late: watch::Sender<bool>,
    is_begun: AtomicBool,
    closed: Moment,
    cut: Moment,
    left: Moment,
    /// How many requests ended because the process does.
    were_cut: AtomicU64,
    /// The proxy's connections.
    pub open: Arc<Open>,
}

impl Default for Drain {
    fn default() -> Self {
        Self {
            begun: watch::Sender::new(false),
            late: watch::Sender::new(false),
            is_begun: AtomicBool::new(false),
            closed: Moment::default(),
            cut: Moment::default(),
            left: Moment::default(),
            were_cut: AtomicU64::new(0),
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
        self.closed.come();
    }

    /// Whoever connected while it closed has had time to ask.
    pub fn hurry(&self) {
        self.late.send_replace(true);
    }

    pub fn cut(&self) {
        self.close();
        self.hurry();
        self.cut.come();
    }

    /// Nobody is waited for any more.
    pub fn leave(&self) {
        self.cut();
        self.left.come();
    }

    pub fn is_begun(&self) -> bool {
        self.is_begun.load(Ordering::Acquire)
    }

    pub fn is_cut(&self) -> bool {
        self.cut.has_come()
    }

    /// What happens from now on may not be written down any more.
    pub fn is_left(&self) -> bool {
        self.left.has_come()
    }

    /// A request ended because the process does.
    pub fn note_cut(&self) {
        self.were_cut.fetch_add(1, Ordering::AcqRel);
    }

    /// How many did.
    pub fn were_cut(&self) -> u64 {
        self.were_cut.load(Ordering::Acquire)
    }

    /// Returns when nobody listens any more.
    pub async fn until_closed(&self) {
        self.closed.awaited().await;
    }

    /// Returns when what is under way is cut.
    pub async fn until_cut(&self) {
        self.cut.awaited().await;
    }

    /// Waits until a caller has taken what is written to it; `None` when it is not waited for. What is
    /// given up so is cut anywhere: the connection is good for nothing more. Pinned where it was made: each
    /// hand that it went through would copy it.
    pub async fn taken<T>(&self, writing: Pin<&mut impl Future<Output = T>>) -> Option<T> {
        // Not begun then: it would go on where another one was given up.
        if self.left.has_come() {
            return None;
        }
        self.taken_whole(writing).await
    }

    /// The same of an answer that is written at once, with nothing before it that could have been given up:
    /// it is tried also when nobody is waited for any more.
    pub async fn taken_whole<T>(&self, writing: Pin<&mut impl Future<Output = T>>) -> Option<T> {
        tokio::select! {
            biased;
            taken = writing => Some(taken),
            () = self.left.awaited() => None,
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
    use std::future::pending;
    use std::pin::pin;

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

    #[tokio::test]
    async fn who_does_not_read_is_waited_for_until_they_are_left() {
        let drain = Drain::default();
        drain.cut();
        drain.until_cut().await;
        assert_eq!(
            drain.taken(pin!(async { 1 })).await,
            Some(1),
            "they still read"
        );
        let writing = pin!(pending::<()>());
        let (stuck, ()) = tokio::join!(drain.taken(writing), async {
            drain.leave();
        });
        assert_eq!(stuck, None);
        assert_eq!(
            drain.taken(pin!(async { 2 })).await,
            None,
            "it is not begun"
        );
        let (refusal, stuck) = (async { 3 }, pending::<()>());
        assert_eq!(
            drain.taken_whole(pin!(refusal)).await,
            Some(3),
            "it is tried"
        );
        assert_eq!(drain.taken_whole(pin!(stuck)).await, None);
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
