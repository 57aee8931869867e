//! A caller, and what it saw.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Request, header};
use http_body_util::Full;
use serde_json::json;
use tokio::sync::watch;

use super::{KEY, id};
use crate::drive::{Caller, Errand, NOT_SENT};

/// What callers saw of their calls.
#[derive(Debug, Default)]
pub struct Seen {
    /// Answered whole.
    pub answered: Vec<usize>,
    /// Those whose connection broke off.
    pub cut: usize,
    /// Those that were refused, by the status.
    pub refused: BTreeMap<String, usize>,
}

impl Seen {
    pub(super) fn add(&mut self, other: Self) {
        self.answered.extend(other.answered);
        self.cut += other.cut;
        for (why, calls) in other.refused {
            *self.refused.entry(why).or_default() += calls;
        }
    }
}

/// One connection's calls, one after the other.
pub(super) struct Calling {
    /// Where the gateway is; `None` while it is not.
    pub(super) at: watch::Receiver<Option<SocketAddr>>,
    /// How many calls have begun.
    pub(super) begun: Arc<AtomicUsize>,
    /// How many there are to be.
    pub(super) calls: usize,
}

impl Calling {
    /// Calls until there are enough. No call is sent twice: what is on record of it is counted.
    pub(super) async fn call_on(mut self) -> Seen {
        let mut seen = Seen::default();
        let mut caller: Option<(SocketAddr, Caller)> = None;
        loop {
            let number = self.begun.fetch_add(1, Ordering::Relaxed);
            if number >= self.calls {
                return seen;
            }
            while let Some(addr) = self.gateway().await {
                let (_, caller) = match caller.take() {
                    Some(one) if one.0 == addr => caller.insert(one),
                    _ => caller.insert((addr, Caller::new(addr))),
                };
                match caller.call(errand(number)).await {
                    Ok(_) => seen.answered.push(number),
                    // It was killed before it could be called: the next one is.
                    Err(why) if why == NOT_SENT => {
                        tokio::task::yield_now().await;
                        continue;
                    }
                    Err(why) if why.starts_with("status") => {
                        *seen.refused.entry(why).or_default() += 1;
                    }
                    Err(_) => seen.cut += 1,
                }
                break;
            }
        }
    }

    /// Where it is, as soon as it is anywhere; `None` when there will be none any more.
    async fn gateway(&mut self) -> Option<SocketAddr> {
        let at = self.at.wait_for(Option::is_some).await;
        at.ok().and_then(|at| *at)
    }
}

/// Every third call is a stream: those are killed between their events.
fn errand(number: usize) -> Errand {
    let streams = number.is_multiple_of(3);
    let question = json!([{"role": "user", "content": "Say hello, please."}]);
    let body = json!({
        "model": "gpt-4o",
        "stream": streams,
        "user": id(number),
        "messages": question,
    });
    let request = Request::post("/v1/chat/completions")
        .header(header::HOST, "localhost")
        .header(header::AUTHORIZATION, format!("Bearer {KEY}"))
        .header(header::CONTENT_TYPE, "application/json")
        .header("x-request-id", id(number))
        .body(Full::new(Bytes::from(body.to_string())));
    Errand {
        request: request.expect("these always are headers"),
        streams,
    }
}
