//! The attempts, until one is committed.
//!
//! An attempt is committed when its answer is known to be good, or to be the caller's own fault:
//! status judged, an error's body read, a stream's first event seen. Until then nothing has gone
//! to the caller and the next credential may be tried; after it, never.
//!
//! Each file has one duty: [`heads`] decides which headers go either way, [`send`] writes a
//! request while it watches for an early answer, [`exchange`] runs one exchange up to the answer's
//! head, [`attempt`] judges what came.

mod attempt;
mod exchange;
mod heads;
mod send;

use std::borrow::Cow;
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use pingora::protocols::http::ServerSession;
use turnpike_api::{Fault, Judgement, Operation};

use super::authorize::Permit;
use super::body::Body;
use super::read::ModelSpan;
use super::route::Route;
use super::select::{Lease, Outcome, Selection};
use super::{Line, Stop};
use crate::context::Context;
use crate::observe::events::{AttemptBroken, AttemptFailed};
use crate::path::without_credentials;
use crate::refusal::{Reason, Refusal};
use crate::upstream::Member;

use attempt::Attempt;
pub use attempt::Received;
use exchange::Broken;
pub use exchange::Next;

/// What goes out, the same for every attempt.
pub struct Outgoing<'a> {
    pub line: Line<'a>,
    /// Without the caller's credentials.
    pub query: Cow<'a, str>,
    pub operation: Operation,
    model: &'a str,
    model_span: Option<ModelSpan>,
    body: Body<'a>,
}

impl<'a> Outgoing<'a> {
    pub fn new(
        line: Line<'a>,
        permit: &'a Permit,
        model_span: Option<ModelSpan>,
        body: Body<'a>,
    ) -> Self {
        Self {
            line,
            query: without_credentials(line.query),
            operation: permit.ask().operation,
            model: &permit.ask().model,
            model_span,
            body,
        }
    }

    /// The body for `member`: the caller's bytes, but for the value of an aliased model.
    fn body_for(&self, member: &Member) -> Bytes {
        let body = &self.body.bytes;
        let Some(span) = self
            .model_span
            .as_ref()
            .filter(|_| *member.model != *self.model)
        else {
            return body.clone();
        };
        let name: Cow<'_, str> = match span.json {
            true => serde_json::Value::from(&*member.model).to_string().into(),
            false => (&*member.model).into(),
        };
        let mut rewritten = BytesMut::with_capacity(body.len() + name.len());
        rewritten.put_slice(&body[..span.range.start]);
        rewritten.put_slice(name.as_bytes());
        rewritten.put_slice(&body[span.range.end..]);
        rewritten.freeze()
    }
}

/// A committed answer: nothing of it has gone to the caller yet, and all of it will.
pub struct Answer<'p, 'm> {
    /// `None` when it is a refusal whose lease was settled as a fault.
    pub lease: Option<Lease<'p, 'm>>,
    pub received: Received,
    pub operation: Operation,
    pub deadline: Instant,
}

/// Tries credentials until an attempt is committed. Where none is, the last answer that says
/// something of the call goes to the caller; what providers say of our own credentials never does.
pub async fn forward<'p, 'm>(
    session: &mut ServerSession,
    context: &mut Context<'m>,
    permit: &'p Permit,
    route: &'p Route,
    call: &Outgoing<'_>,
) -> Result<Answer<'p, 'm>, Stop> {
    let deadline = context.record.started + context.snapshot.timeouts.total;
    let metrics = &context.runtime.metrics;
    let mut selection = Selection::new(permit, route, context);
    let mut failures = Failures::default();
    // A call that begins after the deadline would be billed, and its answer thrown away.
    while Instant::now() < deadline
        && let Some(lease) = selection.next(metrics)
    {
        context.record.credential = Some(lease.member.credential.id.clone());
        context.record.attempts += 1;
        match attempt::attempt(session, context, &lease, call, deadline).await {
            Attempt::Judged(received, Judgement::Fault(fault)) => {
                tell_refused(context, &lease, fault, received.status);
                failures.refused(fault, received);
                lease.settle(Outcome::Fault(fault));
            }
            Attempt::Judged(received, _) => {
                context.record.committed = Some(context.record.started.elapsed());
                return Ok(Answer {
                    lease: Some(lease),
                    received,
                    operation: call.operation,
                    deadline,
                });
            }
            Attempt::Broken(broken) => {
                tell_broken(context, &lease, &broken);
                lease.settle(Outcome::Broken(broken.outcome()));
                failures.broken = Some(broken);
            }
            Attempt::ClientGone => {
                lease.settle(Outcome::ClientGone);
                return Err(Stop::ClientGone);
            }
        }
    }
    context.record.committed = Some(context.record.started.elapsed());
    let received = failures.last_word(route)?;
    Ok(Answer {
        lease: None,
        received,
        operation: call.operation,
        deadline,
    })
}

fn tell_refused(context: &Context<'_>, lease: &Lease<'_, '_>, fault: Fault, status: u16) {
    let (request, credential) = (context.record.id.as_str(), &*lease.member.credential.id);
    AttemptFailed {
        request,
        credential,
        fault,
        status,
    }
    .tell();
}

fn tell_broken(context: &Context<'_>, lease: &Lease<'_, '_>, broken: &Broken) {
    let (request, credential) = (context.record.id.as_str(), &*lease.member.credential.id);
    AttemptBroken {
        request,
        credential,
        outcome: broken.outcome(),
        error: broken.to_string(),
    }
    .tell();
}

/// What came of the attempts when none was committed.
#[derive(Default)]
struct Failures {
    /// The last refusal that is not about our own credentials.
    of_the_call: Option<Received>,
    /// How many said that our credential is not good.
    of_our_credentials: usize,
    broken: Option<Broken>,
}

impl Failures {
    fn refused(&mut self, fault: Fault, received: Received) {
        match fault {
            Fault::Unauthorized | Fault::PaymentRequired | Fault::Forbidden => {
                self.of_our_credentials += 1
            }
            Fault::RateLimited
            | Fault::ModelNotFound
            | Fault::Overloaded
            | Fault::Timeout
            | Fault::ServerError => self.of_the_call = Some(received),
        }
    }

    /// An agent that is shown a provider's 401 blames its own token, so it is shown a 503 that
    /// says whose credential it was.
    fn last_word(self, route: &Route) -> Result<Received, Refusal> {
        if let Some(received) = self.of_the_call {
            return Ok(received);
        }
        let providers = route.pool().providers.join(", ");
        Err(match self.broken {
            Some(broken) => broken.refusal(&providers),
            None if self.of_our_credentials == 0 => {
                Broken::TimedOut(Duration::ZERO).refusal(&providers)
            }
            None => {
                let refused = self.of_our_credentials;
                let which = if refused == 1 {
                    "the credential tried was".to_owned()
                } else {
                    format!("the {refused} credentials tried were")
                };
                Refusal::new(
                    Reason::NoCredential,
                    format!(
                        "No credentials for provider {providers}: {which} refused by the provider; this is not your key's fault"
                    ),
                )
            }
        })
    }
}
