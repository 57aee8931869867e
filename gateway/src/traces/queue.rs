//! Calls whose spans are to be sent: a bounded queue, from requests to the one who sends.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::Finished;

/// Spans that are held at most, those being sent among them.
const MOST: usize = 2048;

/// Spans that are sent at once, or as many more as the last call has.
pub const BATCH: usize = 512;

/// Calls that are over.
pub struct Queue {
    waiting: Mutex<Waiting>,
    most: usize,
    put: Notify,
}

#[derive(Default)]
struct Waiting {
    calls: VecDeque<Finished>,
    /// Spans of them, and of those being sent.
    held: usize,
}

impl Default for Queue {
    fn default() -> Self {
        Self::of(MOST)
    }
}

impl Queue {
    fn of(most: usize) -> Self {
        Self {
            waiting: Mutex::default(),
            most,
            put: Notify::new(),
        }
    }

    /// Puts a call in; where there is no room for all its spans, tells how many are dropped.
    pub fn put(&self, call: Finished) -> Result<(), usize> {
        let spans = call.spans();
        {
            let mut waiting = self.waiting();
            if waiting.held + spans > self.most {
                return Err(spans);
            }
            waiting.held += spans;
            waiting.calls.push_back(call);
        }
        self.put.notify_one();
        Ok(())
    }

    /// Waits until so many spans are held.
    pub async fn holds(&self, spans: usize) {
        while self.waiting().held < spans {
            self.put.notified().await;
        }
    }

    /// The oldest calls, about [`BATCH`] spans of them; `None` when there is none.
    pub fn take(&self) -> Option<Batch<'_>> {
        let mut waiting = self.waiting();
        let mut spans = 0;
        let mut calls = Vec::new();
        while spans < BATCH
            && let Some(call) = waiting.calls.pop_front()
        {
            spans += call.spans();
            calls.push(call);
        }
        drop(waiting);
        (spans > 0).then_some(Batch {
            queue: self,
            calls,
            spans,
        })
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Calls that are being sent. They go back where they were, unless they are done with.
pub struct Batch<'q> {
    queue: &'q Queue,
    pub calls: Vec<Finished>,
    pub spans: usize,
}

impl Batch<'_> {
    /// They were sent, or never will be.
    pub fn done(mut self) {
        self.calls.clear();
        self.queue.waiting().held -= self.spans;
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        let mut waiting = self.queue.waiting();
        for call in self.calls.drain(..).rev() {
            waiting.calls.push_front(call);
        }
    }
}
