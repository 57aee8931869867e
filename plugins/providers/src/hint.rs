//! What a refusal says of when to come back, and of how much ran out.
//!
//! A refusal may say so in several places. The longest wait counts: who comes back too early may
//! lose the key, who comes back late loses little, and the gateway caps what is absurd.
//!
//! 1. What is stated: `Retry-After`, `retry-after-ms`, the body's `resets_at`,
//!    `resets_in_seconds`, `retry_after` and Google's `RetryInfo`, Anthropic's unified windows.
//! 2. Where nothing of that is there, what can be inferred: when the windows that are used up are
//!    full again, which is later than when a call fits, and the words "try again in".
//!
//! What is no time, negative ones among them, is as if it were not there: another place may speak.

mod body;
mod headers;
mod times;

use std::time::Duration;

use http::HeaderMap;
use turnpike_api::{Fault, Hint, Judgement};

pub(crate) use headers::{anthropic_windows, no_windows, openai_windows};

/// A refusal, and when it came.
#[derive(Clone, Copy)]
pub(crate) struct Refusal<'a> {
    /// Milliseconds since 1970.
    pub(crate) now: u64,
    pub(crate) status: u16,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: &'a [u8],
}

/// Reads the headers of one vendor that say how its windows stand.
type Windows = fn(u64, &HeaderMap, &mut Said);

/// What was said of the wait, so far.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    stated: Option<Duration>,
    inferred: Option<Duration>,
    /// What ran out is the account's.
    whole: bool,
}

/// What an answer says that was judged so.
pub(crate) fn of_answer(judged: Judgement, refusal: Refusal<'_>, windows: Windows) -> Hint {
    let Judgement::Fault(fault) = judged else {
        return Hint::default();
    };
    if !matches!(refusal.status, 400 | 402 | 403 | 408 | 429 | 500..=599) {
        return Hint::default();
    }
    // The windows of an account without money say nothing of when there will be some. A 402 is
    // the vendor's own word for it, and so is its `Retry-After`.
    if fault == Fault::PaymentRequired && refusal.status != 402 {
        return out_of_money();
    }
    let mut said = Said {
        whole: fault == Fault::PaymentRequired,
        ..Said::default()
    };
    headers::retry_after(refusal.now, refusal.headers, &mut said);
    windows(refusal.now, refusal.headers, &mut said);
    body::read(refusal.now, refusal.body, &mut said);
    said.hint()
}

/// What the event says that ended a stream with `fault`.
pub(crate) fn of_event(fault: Fault, now: u64, data: &[u8]) -> Hint {
    if fault == Fault::PaymentRequired {
        return out_of_money();
    }
    let mut said = Said::default();
    body::read(now, data, &mut said);
    said.hint()
}

fn out_of_money() -> Hint {
    Hint {
        wait: None,
        whole_credential: true,
    }
}

impl Said {
    fn state(&mut self, wait: Option<Duration>) {
        self.stated = self.stated.max(wait);
    }

    fn infer(&mut self, wait: Option<Duration>) {
        self.inferred = self.inferred.max(wait);
    }

    fn hint(self) -> Hint {
        Hint {
            wait: self.stated.or(self.inferred),
            whole_credential: self.whole,
        }
    }
}

#[cfg(test)]
mod tests;
