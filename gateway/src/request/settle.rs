//! The record is told, exactly once, for every outcome: it happens when the context is dropped,
//! so that a panic or a cancelled task does not skip it. Nothing here waits: the next request of
//! the connection is behind it.

use crate::audit::calls;
use crate::context::Context;
use crate::observe::events::RequestEnded;
use crate::runtime::Runtime;

/// Ends the request.
pub fn settle(context: Context<'_>) {
    drop(context);
}

/// A call that is under way no more, once this is dropped.
struct Left<'r>(&'r Runtime);

impl Drop for Left<'_> {
    fn drop(&mut self) {
        self.0.metrics.in_flight().dec();
    }
}

impl Drop for Context<'_> {
    fn drop(&mut self) {
        // The last of all, also should one of these panic: who waits for no call to be under way finds
        // all of it told.
        let _left = Left(self.runtime);
        let drain = &self.runtime.drain;
        if drain.is_cut() && self.record.ending.is_cut() {
            drain.note_cut();
        }
        calls::end(self);
        calls::used(self);
        RequestEnded {
            record: &self.record,
            trace: self.known_trace(),
            metrics: &self.runtime.metrics,
            tenant: &self.whose().metrics,
        }
        .tell();
        if let Some(notes) = self.recording.take() {
            let call = notes.end(self.trace, &self.record);
            if let Err(spans) = self.runtime.spans.put(call) {
                self.runtime.metrics.spans("no_room", spans);
            }
        }
    }
}
