//! Traces: a span for each call, and one within it for each attempt at a provider, for a collector of
//! OpenTelemetry's.
//!
//! Whether a call's trace is recorded is decided once, when its head is there ([`Traces::records`]). Of
//! one that is not, nothing is noted. What is noted of one that is ([`Recording`]) is put into a
//! [`Queue`] when the call is over, as it was: what of it becomes a span's attributes is decided in
//! [`spans`], and `background/traces.rs` sends it. A queue that is full drops, and counts; no call waits.
//!
//! No span holds a prompt, a credential, who calls or from where: its decision's id leads to the audit,
//! which does.

mod attributes;
pub mod queue;
mod recording;
mod sampler;
pub mod spans;

use turnpike_config::plan::TelemetryPlan;

pub use queue::Queue;
pub use recording::{Finished, Recording};
pub use sampler::{Allowance, Sampler};

use crate::trace_context::TraceContext;
use crate::upstream::Endpoint;

/// Where spans go, and of which traces there are any: by one configuration.
pub struct Traces {
    pub endpoint: Endpoint,
    pub path: String,
    sampler: Sampler,
}

/// Whether a trace is recorded, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    No,
    ByLot,
    /// The caller says so.
    OnWord,
}

impl Traces {
    pub fn new(plan: &TelemetryPlan, endpoint: Endpoint) -> Self {
        Self {
            path: format!("{}/v1/traces", endpoint.base_path()),
            endpoint,
            sampler: Sampler::new(plan.ratio),
        }
    }

    /// Whether the trace is recorded here: a part of those that begin here, drawn by lot, and those that
    /// the caller records. A caller may say so of all its calls, so beyond its part of the lot it has an
    /// allowance, which all callers share. `now` is in milliseconds.
    pub fn records(&self, trace: &TraceContext, asked: &Allowance, now: u64) -> Recorded {
        let is_asked_for = trace.parent().is_some();
        if is_asked_for && !trace.is_sampled() {
            Recorded::No
        } else if self.sampler.draws(trace.id()) {
            Recorded::ByLot
        } else if is_asked_for && asked.takes(now) {
            Recorded::OnWord
        } else {
            Recorded::No
        }
    }
}
