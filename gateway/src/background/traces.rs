//! Sending spans to their collector.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message as _;
use tracing::{info, warn};
use turnpike_api::Clock;

use crate::clock::millis;
use crate::runtime::Runtime;
use crate::traces::queue::{BATCH, Batch};
use crate::traces::{Traces, spans};
use crate::upstream::call::{self, Answer, CallError, Request};

/// A span is sent that long after its call at the latest.
const EVERY: Duration = Duration::from_secs(5);

/// How long a collector is left alone after it failed, at first and at most.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// How long a stopping process waits for it.
const PATIENCE: Duration = Duration::from_secs(5);

const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");

/// Sends, until the process ends.
pub async fn export(runtime: Arc<Runtime>) {
    let (queue, time) = (&runtime.spans, &runtime.board.time);
    let mut sender = Sender::new(&runtime);
    loop {
        queue.holds(1).await;
        let at = time.now() + millis(EVERY);
        tokio::select! {
            () = queue.holds(BATCH) => {}
            () = time.sleep_until(at) => {}
        }
        if let Some(batch) = queue.take()
            && let Some(wait) = sender.send(batch).await
        {
            time.sleep_until(time.now() + millis(wait)).await;
        }
    }
}

/// Sends what there is: the process ends. What is not taken then is lost, and counted.
pub async fn flush(runtime: &Runtime) {
    let sending = async {
        let mut sender = Sender::new(runtime);
        while let Some(batch) = runtime.spans.take() {
            if sender.send(batch).await.is_some() {
                break;
            }
        }
    };
    // It is counted below.
    let _ = tokio::time::timeout(PATIENCE, sending).await;
    while let Some(batch) = runtime.spans.take() {
        runtime.metrics.spans("lost", batch.spans);
        batch.done();
    }
}

/// What came of a batch.
enum Sent {
    /// It was taken, all of it but so many spans.
    Taken { refused: usize, why: String },
    /// It will not be, however often it is sent.
    Refused(String),
    /// There is no collector any more.
    Unwanted,
    /// It may be taken later, after that long if the collector says so.
    Away(String, Option<Duration>),
}

struct Sender<'r> {
    runtime: &'r Runtime,
    failures: u32,
    /// What was told last of what is wrong: one line a change.
    told: Option<String>,
}

impl<'r> Sender<'r> {
    fn new(runtime: &'r Runtime) -> Self {
        Self {
            runtime,
            failures: 0,
            told: None,
        }
    }

    /// Sends a batch once. Where it is to be sent again, answers how long to wait.
    async fn send(&mut self, batch: Batch<'_>) -> Option<Duration> {
        let metrics = &self.runtime.metrics;
        let snapshot = self.runtime.snapshot();
        let sent = match &snapshot.traces {
            Some(traces) => send(self.runtime, traces, &batch).await,
            None => Sent::Unwanted,
        };
        match sent {
            Sent::Taken { refused, why } => {
                let refused = refused.min(batch.spans);
                metrics.spans("sent", batch.spans - refused);
                metrics.spans("refused", refused);
                self.tell((refused > 0).then_some(why));
            }
            Sent::Refused(why) => {
                metrics.spans("refused", batch.spans);
                self.tell(Some(why));
            }
            Sent::Unwanted => metrics.spans("lost", batch.spans),
            Sent::Away(why, wait) => {
                self.tell(Some(why));
                let own = FIRST_WAIT * (1 << self.failures.min(5));
                self.failures += 1;
                return Some(wait.unwrap_or(own).min(LONGEST_WAIT));
            }
        }
        self.failures = 0;
        batch.done();
        None
    }

    fn tell(&mut self, problem: Option<String>) {
        if problem == self.told {
            return;
        }
        match &problem {
            Some(why) => warn!(
                why,
                "the collector does not take spans; calls go on as ever"
            ),
            None => info!("the collector takes spans again"),
        }
        self.told = problem;
    }
}

async fn send(runtime: &Runtime, traces: &Traces, batch: &Batch<'_>) -> Sent {
    let body = spans::request(&batch.calls, runtime.name()).encode_to_vec();
    let request = Request {
        method: Method::POST,
        path: &traces.path,
        headers: vec![(header::CONTENT_TYPE, PROTOBUF)],
        body: Bytes::from(body),
    };
    judge(call::send(&runtime.connections, &traces.endpoint, request).await)
}

/// As the OTLP specification has it.
fn judge(answer: Result<Answer, CallError>) -> Sent {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return Sent::Away(error.to_string(), None),
    };
    match answer.status {
        200..=299 => {
            // What cannot be read says nothing of spans that were refused.
            let said = ExportTraceServiceResponse::decode(answer.body).unwrap_or_default();
            let said = said.partial_success.unwrap_or_default();
            Sent::Taken {
                refused: usize::try_from(said.rejected_spans).unwrap_or(0),
                why: said.error_message,
            }
        }
        status @ (429 | 502 | 503 | 504) => Sent::Away(
            format!("the collector answered {status}"),
            retry_after(&answer.headers),
        ),
        status => Sent::Refused(format!("the collector answered {status}")),
    }
}

/// A date is not understood: it says what the own back-off says as well.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    seconds.trim().parse().ok().map(Duration::from_secs)
}
