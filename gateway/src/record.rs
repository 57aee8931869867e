//! What is known of one request, from its head to its end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use turnpike_api::{Identity, Operation, Usage};

use crate::context::RequestId;
use crate::observe::metrics::{CallError, ModelMetrics};
use crate::refusal::Reason;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The answer was passed on whole, whatever its status.
    Answered { status: u16 },
    /// The gateway answered itself.
    Refused { status: u16, reason: &'static str },
    /// The answer had begun and could not be completed.
    Incomplete { status: u16, reason: &'static str },
    /// The caller left first.
    ClientGone,
    /// None of these was reached: a panic, or the process is stopping.
    Aborted,
}

/// One request. Filled in as it goes its way, told when it is over.
pub struct Record {
    pub id: RequestId,
    /// Of what the gateway decided about it: its own, where the caller chose the request's.
    pub decision: RequestId,
    pub started: Instant,
    pub operation: Option<Operation>,
    pub identity: Option<Arc<Identity>>,
    pub client: Option<std::net::IpAddr>,
    /// As the caller wrote it.
    pub model: Option<Arc<str>>,
    /// The credential that served, or was tried last.
    pub credential: Option<Arc<str>>,
    /// What its provider calls the model.
    pub served: Option<Arc<str>>,
    pub provider: Option<Arc<str>>,
    /// How it is counted, likewise.
    pub model_metrics: Option<ModelMetrics>,
    pub attempts: u32,
    pub stream: bool,
    pub usage: Option<Usage>,
    /// In millionths of a US dollar, where there is a price.
    pub cost: Option<u64>,
    /// Time spent waiting for the caller's body and for providers.
    pub waited: Duration,
    /// From the head to the moment the answer was under way.
    pub committed: Option<Duration>,
    /// From the head to the first of a stream.
    pub first_chunk: Option<Duration>,
    pub ending: Ending,
    /// Its start is, so that its end has to be.
    pub is_on_record: bool,
}

impl Record {
    pub fn new(id: RequestId, decision: RequestId) -> Self {
        Self {
            id,
            decision,
            started: Instant::now(),
            operation: None,
            identity: None,
            client: None,
            model: None,
            credential: None,
            served: None,
            provider: None,
            model_metrics: None,
            attempts: 0,
            stream: false,
            usage: None,
            cost: None,
            waited: Duration::ZERO,
            committed: None,
            first_chunk: None,
            ending: Ending::Aborted,
            is_on_record: false,
        }
    }

    /// What the gateway itself took until the answer was under way.
    pub fn overhead(&self) -> Option<Duration> {
        self.committed
            .map(|committed| committed.saturating_sub(self.waited))
    }

    /// Whether it ended only because the process does.
    pub fn was_cut(&self) -> bool {
        match self.ending {
            Ending::Refused { reason, .. } | Ending::Incomplete { reason, .. } => {
                reason == Reason::Draining.words().reason
            }
            Ending::Answered { .. } | Ending::ClientGone | Ending::Aborted => false,
        }
    }

    /// How it ended, where that was not well.
    pub fn error(&self) -> Option<CallError> {
        match self.ending {
            Ending::Incomplete { .. } => Some(CallError::Incomplete),
            Ending::ClientGone => Some(CallError::ClientGone),
            Ending::Aborted => Some(CallError::Server),
            Ending::Answered { status } | Ending::Refused { status, .. } => match status {
                400..500 => Some(CallError::Client),
                500.. => Some(CallError::Server),
                _ => None,
            },
        }
    }
}
