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
    Refused { status: u16, reason: Reason },
    /// The answer had begun and could not be completed.
    Incomplete { status: u16, reason: Reason },
    /// The caller left first.
    ClientGone,
    /// None of these was reached: a panic, or the process is stopping.
    Aborted,
}

impl Ending {
    /// In a word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Answered { .. } => "answered",
            Self::Refused { .. } => "refused",
            Self::Incomplete { .. } => "incomplete",
            Self::ClientGone => "client_gone",
            Self::Aborted => "aborted",
        }
    }

    /// The status that the caller got, or what stands for it where there was none.
    pub fn status(self) -> u16 {
        match self {
            Self::Answered { status }
            | Self::Refused { status, .. }
            | Self::Incomplete { status, .. } => status,
            // The status nginx made usual for a client that closed its request.
            Self::ClientGone => 499,
            Self::Aborted => 500,
        }
    }

    /// Why, where the gateway ended it.
    pub fn reason(self) -> Option<Reason> {
        match self {
            Self::Refused { reason, .. } | Self::Incomplete { reason, .. } => Some(reason),
            Self::Answered { .. } | Self::ClientGone | Self::Aborted => None,
        }
    }

    /// Whether it is only because the process ends.
    pub fn is_cut(self) -> bool {
        self.reason() == Some(Reason::Draining)
    }

    /// What went wrong, in a word: the reason, or else what became of it.
    pub fn wrong(self) -> Option<&'static str> {
        match self {
            Self::Answered { .. } => None,
            Self::Refused { reason, .. } | Self::Incomplete { reason, .. } => {
                Some(reason.words().reason)
            }
            Self::ClientGone | Self::Aborted => Some(self.word()),
        }
    }
}

/// One request. Filled in as it goes its way, told when it is over.
pub struct Record {
    pub id: RequestId,
    /// Of what the gateway decided about it: its own, where the caller chose the request's.
    pub decision: RequestId,
    pub started: Instant,
    pub operation: Option<Operation>,
    pub identity: Option<Arc<Identity>>,
    /// Whose credential it was, where that is proven and all the same not let in: it is revoked, its session
    /// is over, or it is bound elsewhere.
    pub turned_away: Option<Arc<Identity>>,
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
            turned_away: None,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ending_is_told_the_same_way_everywhere() {
        let (status, reason) = (200, Reason::UpstreamIncomplete);
        for (ending, told) in [
            (Ending::Answered { status }, ("answered", 200, None, None)),
            (
                Ending::Refused {
                    status: 402,
                    reason: Reason::BudgetSpent,
                },
                (
                    "refused",
                    402,
                    Some(Reason::BudgetSpent),
                    Some("budget_spent"),
                ),
            ),
            (
                Ending::Incomplete { status, reason },
                ("incomplete", 200, Some(reason), Some("upstream_incomplete")),
            ),
            (
                Ending::ClientGone,
                ("client_gone", 499, None, Some("client_gone")),
            ),
            (Ending::Aborted, ("aborted", 500, None, Some("aborted"))),
        ] {
            let all = (
                ending.word(),
                ending.status(),
                ending.reason(),
                ending.wrong(),
            );
            assert_eq!(all, told);
        }
    }

    #[test]
    fn only_the_end_of_the_process_cuts() {
        assert!(!Ending::Aborted.is_cut());
        for reason in Reason::ALL {
            for ending in [
                Ending::Refused {
                    status: 503,
                    reason,
                },
                Ending::Incomplete {
                    status: 200,
                    reason,
                },
            ] {
                assert_eq!(ending.is_cut(), reason == Reason::Draining);
            }
        }
    }
}
