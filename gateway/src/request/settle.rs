//! The record is told, exactly once, for every outcome: it happens when the context is dropped,
//! so that a panic or a cancelled task does not skip it. Nothing here waits: the next request of
//! the connection is behind it.

use crate::audit::calls;
use crate::context::Context;
use crate::observe::events::RequestEnded;

/// Ends the request.
pub fn settle(context: Context<'_>) {
    drop(context);
}

impl Drop for Context<'_> {
    fn drop(&mut self) {
        calls::end(self);
        self.runtime.metrics.in_flight().dec();
        RequestEnded {
            record: &self.record,
            trace: self.known_trace(),
            metrics: &self.runtime.metrics,
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
