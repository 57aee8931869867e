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
    pub fn records(&self, trace: &TraceContext, asked: &Allowance, now: u64) -> bool {
        match trace.parent() {
            None => self.sampler.draws(trace.id()),
            Some(_) if !trace.is_sampled() => false,
            Some(_) => self.sampler.draws(trace.id()) || asked.takes(now),
        }
    }
}
