//! The attempts, until one is committed.
//!
//! An attempt is committed when its answer is known to be good, or to be the caller's own fault:
//! status judged, an error's body read, a stream's first content seen. Until then nothing has gone
//! to the caller and the next credential may be tried; after it, never.
//!
//! Each file has one duty: [`heads`] decides which headers go either way, [`send`] writes a
//! request while it watches for an early answer, [`exchange`] runs one exchange up to the answer's
//! head, [`attempt`] judges what came, [`wait`] waits for a credential that is soon back,
//! [`failures`] finds the words where nothing helped.

mod attempt;
mod exchange;
mod failures;
mod heads;
mod send;
mod wait;

use std::borrow::Cow;
use std::ops::Range;
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use pingora::protocols::http::ServerSession;
use turnpike_api::{Clock, Fault, Hint, Operation};

use super::admit::Admission;
use super::authorize::Permit;
use super::body::Body;
use super::read::{ModelSpan, UnaskedUsage};
use super::route::{Route, When};
use super::select::{Lease, Outcome, Selection};
use super::{Line, Stop, draining, identify, usage_chunk};
use crate::context::Context;
use crate::observe::events::{AttemptBroken, AttemptFailed};
use crate::path::without_credentials;
use crate::upstream::quota::is_quota;
use crate::upstream::{Member, Pool};

use attempt::Attempt;
pub use attempt::Received;
use exchange::Broken;
pub use exchange::Next;
use failures::Failures;
use wait::{Somebody, Wait};

/// After so long one who was known may have been shut out.
const LONG: Duration = Duration::from_millis(100);

/// What goes out, the same for every attempt.
pub struct Outgoing<'a> {
    pub line: Line<'a>,
    /// Without the caller's credentials.
    pub query: Cow<'a, str>,
    pub operation: Operation,
    model: &'a str,
    edits: Edits,
    body: Body<'a>,
}

/// Where the body is changed on its way out, when it is.
pub struct Edits {
    /// The model's name, for an alias.
    pub model: Option<ModelSpan>,
    /// A stream's usage that is to be asked for.
    pub usage: Option<UnaskedUsage>,
    /// The caller's limits count it.
    pub needs_usage: bool,
}

impl<'a> Outgoing<'a> {
    pub fn new(line: Line<'a>, permit: &'a Permit, edits: Edits, body: Body<'a>) -> Self {
        Self {
            line,
            query: without_credentials(line.query),
            operation: permit.ask().operation,
            model: &permit.ask().model,
            edits,
            body,
        }
    }

    /// The body for `member`: the caller's bytes, but for the value of an aliased model, and for
    /// the usage that is asked for.
    fn body_for(&self, member: &Member<'_>) -> Bytes {
        let body = &self.body.bytes;
        let mut changes: Vec<(Range<usize>, Vec<u8>)> = Vec::new();
        let renamed = self.edits.model.as_ref();
        if let Some(span) = renamed.filter(|_| **member.model != *self.model) {
            let name = match span.json {
                true => serde_json::Value::from(&**member.model).to_string(),
                false => member.model.to_string(),
            };
            changes.push((span.range.clone(), name.into_bytes()));
        }
        if self.asks_for_usage(member)
            && let Some(usage) = &self.edits.usage
        {
            changes.extend(usage_chunk::ask(body, usage.options.as_ref()));
        }
        match changes.is_empty() {
            true => body.clone(),
            false => changed(body, changes),
        }
    }

    /// Whether `member` is asked for the usage of a stream whose caller is not told it.
    fn asks_for_usage(&self, member: &Member<'_>) -> bool {
        let credential = member.credential;
        self.edits.usage.is_some()
            && (credential.needs_usage() || self.edits.needs_usage)
            && credential.vendor.plugin.tells_usage_on_request()
    }
}

/// The body with these ranges replaced; they do not overlap.
fn changed(body: &[u8], mut changes: Vec<(Range<usize>, Vec<u8>)>) -> Bytes {
    changes.sort_by_key(|(range, _)| range.start);
    let more: usize = changes.iter().map(|(_, with)| with.len()).sum();
    let mut changed = BytesMut::with_capacity(body.len() + more);
    let mut from = 0;
    for (range, with) in changes {
        changed.put_slice(&body[from..range.start]);
        changed.put_slice(&with);
        from = range.end;
    }
    changed.put_slice(&body[from..]);
    changed.freeze()
}

/// A committed answer: nothing of it has gone to the caller yet, and all of it will.
pub struct Answer<'p, 'm> {
    /// `None` when it is a refusal whose lease was settled as a fault.
    pub lease: Option<Lease<'p, 'm>>,
    pub received: Received,
    pub operation: Operation,
    /// Its usage was asked for, and is not the caller's to see.
    pub hides_usage: bool,
    pub deadline: Instant,
}

/// Tries credentials until an attempt is committed: those of the asked model, then those of its
/// stand-ins; when none can be asked now but one is soon back, once more after a wait. Where
/// nothing helps, the last answer that says something of the call goes to the caller; what
/// providers say of our own credentials never does.
pub async fn forward<'p, 'm>(
    session: &mut ServerSession,
    context: &mut Context<'m>,
    permit: &'p Permit,
    admission: &'p Admission<'p>,
    route: &'p Route,
    call: &Outgoing<'_>,
) -> Result<Answer<'p, 'm>, Stop> {
    let deadline = context.record.started + context.snapshot.timeouts.total;
    let mut forwarding = Forwarding {
        permit,
        admission,
        call,
        deadline,
        tried: Vec::new(),
        most: context.snapshot.max_attempts as usize,
        switches: true,
        failures: Failures::default(),
    };
    let mut wait = Wait::default();
    loop {
        let tried_before = context.record.attempts;
        if wait.has_waited() || context.record.started.elapsed() > LONG {
            identify::still(context)?;
        }
        if let Some(answer) = forwarding.round(session, context, route).await? {
            wait.tell(context, true);
            return Ok(answer);
        }
        let has_tried = context.record.attempts > tried_before;
        let had_its_chance = has_tried && wait.has_waited();
        let is_capped = forwarding.failures.capped.is_some();
        if !forwarding.switches || had_its_chance || is_capped || forwarding.is_over() {
            break;
        }
        let waiting = wait.for_somebody(session, context, route.pool(), &mut forwarding);
        // Boxed, as all that is seldom awaited here: it would lie within the future of every
        // request.
        match Box::pin(waiting).await? {
            Somebody::Is => {}
            Somebody::CameBack => forwarding.begin_anew(),
            Somebody::IsNot => break,
        }
    }
    wait.tell(context, false);
    context.record.committed = Some(context.record.started.elapsed());
    let received = forwarding.failures.last_word(route, permit, context)?;
    Ok(Answer {
        lease: None,
        received,
        operation: call.operation,
        hides_usage: false,
        deadline,
    })
}

/// A call on its way from credential to credential.
struct Forwarding<'p, 'c> {
    permit: &'p Permit,
    admission: &'p Admission<'p>,
    call: &'c Outgoing<'c>,
    deadline: Instant,
    /// Who was tried, of the route's pool and of each stand-in's.
    tried: Vec<Vec<usize>>,
    /// As many of one pool may be.
    most: usize,
    /// Another credential may be tried after one whose quota is used up.
    switches: bool,
    failures: Failures,
}

impl<'p> Forwarding<'p, '_> {
    /// A call that begins after the deadline would be billed, and its answer thrown away.
    fn is_over(&self) -> bool {
        Instant::now() >= self.deadline
    }

    /// How many members of the route's pool failed for this call and are ready all the same;
    /// `None` when no more of them may be tried.
    fn failed_and_ready(&self, pool: &Pool, now: u64) -> Option<usize> {
        let tried = self.tried.first().map_or(&[][..], Vec::as_slice);
        let is_ready = |at: &&usize| pool.is_ready(**at, now);
        (tried.len() < self.most).then(|| tried.iter().filter(is_ready).count())
    }

    /// After a wait all may be tried again, as many as are left of those that one request may try:
    /// one at least, or it would have waited for nothing.
    fn begin_anew(&mut self) {
        let tried = self.tried.iter().map(Vec::len).max().unwrap_or(0);
        self.most = self.most.saturating_sub(tried).max(1);
        self.tried.clear();
    }

    /// The asked model's pool, then the stand-ins' that may.
    async fn round<'m>(
        &mut self,
        session: &mut ServerSession,
        context: &mut Context<'m>,
        route: &'p Route,
    ) -> Result<Option<Answer<'p, 'm>>, Stop> {
        let asked = (route.pool(), &*self.permit.ask().model);
        let answer = self.pool(session, context, asked, 0).await?;
        if answer.is_some() {
            return Ok(answer);
        }
        for (stand_in, at) in route.stand_ins().iter().zip(1..) {
            let may = match stand_in.when {
                When::Unserved => true,
                When::OutOfQuota => {
                    context.snapshot.quota_exceeded.switch_preview_model
                        && self.is_out_of_quota(route, context)
                }
            };
            if !may || !self.admission.admits(&stand_in.pool) {
                continue;
            }
            let pool = (&*stand_in.pool, &*stand_in.name);
            if let Some(answer) = self.pool(session, context, pool, at).await? {
                return Ok(Some(answer));
            }
        }
        Ok(None)
    }

    /// The credentials of one pool, by the name that callers have for its model, until one serves or enough were tried.
    async fn pool<'m>(
        &mut self,
        session: &mut ServerSession,
        context: &mut Context<'m>,
        pool: (&'p Pool, &'p str),
        at: usize,
    ) -> Result<Option<Answer<'p, 'm>>, Stop> {
        let tried = self.tried.get_mut(at).map(std::mem::take);
        let tried = tried.unwrap_or_default();
        let mut selection = Selection::new(self.permit, self.admission, pool, tried, self.most);
        while !self.is_over()
            && let Some(mut lease) = selection.next(context).await
        {
            // Boxed: there seldom is anything to ask.
            if lease.tries() && !Box::pin(lease.may_go()).await {
                continue;
            }
            context.record.credential = Some(lease.member.credential.id.clone());
            context.record.provider = Some(lease.member.credential.vendor.name.clone());
            context.record.served = Some(lease.member.model.clone());
            context.record.model_metrics = Some(lease.member.metrics.clone());
            context.record.attempts += 1;
            context.attempts(&lease.member);
            match attempt::attempt(session, context, &lease, self.call, self.deadline).await {
                Attempt::Good(received) => {
                    context.attempt_answered(received.status);
                    // A call that is refused for its own sake says nothing of the credential.
                    if received.status < 400 {
                        lease.serves(context.session.zip(context.snapshot.affinity));
                    }
                    context.record.committed = Some(context.record.started.elapsed());
                    return Ok(Some(Answer {
                        hides_usage: self.call.asks_for_usage(&lease.member),
                        lease: Some(lease),
                        received,
                        operation: self.call.operation,
                        deadline: self.deadline,
                    }));
                }
                Attempt::Refused(received, fault, hint) => {
                    tell_refused(context, &lease, fault, received.status);
                    context.attempt_failed(Some(received.status), fault.as_str());
                    self.failures.refused(fault, received);
                    lease.settle(Outcome::Fault(fault, hint), context);
                    if is_of_quota(fault) && !context.snapshot.quota_exceeded.switch_project {
                        self.switches = false;
                        break;
                    }
                }
                Attempt::Broken(broken) => {
                    tell_broken(context, &lease, &broken);
                    // In the span's word as in the metric's.
                    let (word, outcome) = match broken.fault() {
                        Some(fault) => (fault.as_str(), Outcome::Fault(fault, Hint::default())),
                        None => (broken.outcome(), Outcome::Broken(broken.outcome())),
                    };
                    context.attempt_failed(None, word);
                    lease.settle(outcome, context);
                    self.failures.broken = Some(broken);
                }
                Attempt::ClientGone => {
                    lease.settle(Outcome::ClientGone, context);
                    return Err(Stop::ClientGone);
                }
                Attempt::Cut => {
                    lease.settle(Outcome::Broken("cut_here"), context);
                    return Err(draining().into());
                }
            }
        }
        self.tried
            .resize_with(self.tried.len().max(at + 1), Vec::new);
        let (tried, capped) = selection.end();
        self.tried[at] = tried;
        // The fleet's quota has less left than the call may need.
        self.failures.of_quota |= capped
            .as_ref()
            .is_some_and(|fallen| is_quota(&fallen.limit));
        self.failures.capped = capped.or(self.failures.capped.take());
        Ok(None)
    }

    /// Whether the asked model is not served for want of quota.
    fn is_out_of_quota(&self, route: &Route, context: &Context<'_>) -> bool {
        if self.failures.of_quota {
            return true;
        }
        let now = context.runtime.board.time.now();
        let outlook = route.pool().outlook(now, self.call.operation);
        let of_quota = |(fault, _): &(Fault, usize)| is_of_quota(*fault);
        outlook.ready == 0 && (outlook.exhausted > 0 || outlook.faults.iter().any(of_quota))
    }
}

/// Whether a fault says that something is used up.
fn is_of_quota(fault: Fault) -> bool {
    matches!(fault, Fault::RateLimited | Fault::PaymentRequired)
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
