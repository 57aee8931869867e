//! What is told of calls: that one begins, before anything of it goes out; how it ended; and why it was
//! refused.

use std::time::Duration;

use http::HeaderName;
use http::header::USER_AGENT;
use pingora::http::RequestHeader;
use turnpike_api::{Clock, Operation};
use turnpike_audit::events::{
    AuthenticationRefused, AuthorizationDenied, CallUsage, Claimed, Fell, LimitHit, RequestEnd,
    RequestStart, Used,
};

use super::{no_room, who};
use crate::clock::millis;
use crate::context::Context;
use crate::record::Record;
use crate::refusal::{Reason, Refusal};
use crate::request::{identify, others_first};
use crate::trace_context::TraceId;

/// Puts an admitted call on record, before anything of it goes to a provider.
pub async fn begin(
    head: &RequestHeader,
    query: &str,
    operation: Operation,
    context: &mut Context<'_>,
) -> Result<(), Refusal> {
    let Some(log) = context.runtime.audit.log.get() else {
        return Ok(());
    };
    let record = &context.record;
    let trace = context.trace.digits();
    let mark = log.note(&RequestStart {
        request: record.id.as_str(),
        decision: record.decision.as_str(),
        trace: trace.as_str(),
        who: record.identity.as_deref().map(who).unwrap_or_default(),
        client: record.client,
        user_agent: user_agent(head),
        claimed: claimed(head, query, &context.snapshot.claimed_headers),
        operation: operation.as_str(),
        model: record.model.as_deref(),
        generation: context.snapshot.generation,
    });
    context.record.is_on_record = mark.is_noted();
    // Calls that begin together are written together.
    others_first().await;
    log.keep(mark).map_err(|_| no_room())
}

/// Tells how a call ended that was begun.
pub fn end(context: &Context<'_>) {
    let record = &context.record;
    if !record.is_on_record {
        return;
    }
    let trace = context.known_trace().map(|trace| trace.digits());
    context.runtime.audit.tell(&RequestEnd {
        request: record.id.as_str(),
        decision: record.decision.as_str(),
        trace: trace.as_ref().map(TraceId::as_str),
        who: record.identity.as_deref().map(who).unwrap_or_default(),
        client: record.client,
        operation: record.operation.map_or("", Operation::as_str),
        model: record.model.as_deref(),
        served: record.served.as_deref(),
        provider: record.provider.as_deref(),
        credential: record.credential.as_deref(),
        outcome: record.ending.word(),
        status: record.ending.status().into(),
        reason: reason(record),
        attempts: record.attempts.into(),
        stream: record.stream,
        used: tokens(record),
        took_ms: millis(record.started.elapsed()),
        first_ms: record.committed.map(millis),
    });
}

/// Tells what a call used that a provider was called for, where somebody wants to know.
pub fn used(context: &Context<'_>) {
    let Some(log) = context.runtime.audit.usage.get() else {
        return;
    };
    let record = &context.record;
    if record.attempts == 0 {
        return;
    }
    let trace = context.known_trace().map(|trace| trace.digits());
    log.note(&CallUsage {
        request: record.id.as_str(),
        decision: record.decision.as_str(),
        trace: trace.as_ref().map(TraceId::as_str),
        who: record.identity.as_deref().map(who).unwrap_or_default(),
        operation: record.operation.map_or("", Operation::as_str),
        model: record.model.as_deref(),
        served: record.served.as_deref(),
        provider: record.provider.as_deref(),
        credential: record.credential.as_deref(),
        outcome: record.ending.word(),
        status: record.ending.status().into(),
        reason: reason(record),
        attempts: record.attempts.into(),
        stream: record.stream,
        used: tokens(record),
        took_ms: millis(record.started.elapsed()),
        first_ms: record.committed.map(millis),
        first_chunk_ms: record.first_chunk.map(millis),
        overhead_us: record.overhead().map(micros),
    });
}

fn tokens(record: &Record) -> Option<Used> {
    record.usage.map(|usage| Used {
        input: usage.input,
        output: usage.output,
        cache_read: usage.cache_read,
        cache_write: usage.cache_write,
        reasoning: usage.reasoning,
        cost: record.cost,
    })
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Why the gateway ended it, where it did.
fn reason(record: &Record) -> Option<&'static str> {
    record.ending.reason().map(|reason| reason.words().reason)
}

/// Tells of a refusal that says something of who asked, or of a limit.
pub fn refused(head: Option<&RequestHeader>, refusal: &Refusal, context: &Context<'_>) {
    if !context.runtime.audit.is_kept() {
        return;
    }
    // Whatever else was wrong with the call, it showed a token whose secret is right, and that is good no more.
    if context.record.turned_away.is_some() {
        return not_let_in(head, refusal.status(), refusal.reason, context);
    }
    match kind(refusal.reason) {
        Kind::Authentication => not_let_in(head, refusal.status(), refusal.reason, context),
        Kind::Authorization => denied(refusal, context),
        Kind::Limit => limit_hit(refusal, context),
        Kind::Other => {}
    }
}

/// Tells that somebody was not let in, and got this status.
pub fn not_let_in(
    head: Option<&RequestHeader>,
    status: u16,
    reason: Reason,
    context: &Context<'_>,
) {
    let audit = &context.runtime.audit;
    if !audit.is_kept() {
        return;
    }
    let record = &context.record;
    let whose = record.turned_away.as_ref().or(record.identity.as_ref());
    let now = context.runtime.board.time.now();
    // Nobody makes up a token whose secret is right: so rubbish does not hide who used a stolen one.
    let untold = match whose {
        Some(_) => audit.may_tell(&audit.denials, now),
        None => audit.may_tell(&audit.strangers, now),
    };
    let Some(untold) = untold else {
        return;
    };
    audit.tell(&AuthenticationRefused {
        request: record.id.as_str(),
        decision: record.decision.as_str(),
        tenant: context.at().name(),
        who: whose.map(|identity| who(identity)).unwrap_or_default(),
        client: record.client,
        user_agent: head.and_then(user_agent),
        status: status.into(),
        reason: reason.words().reason,
        untold: if_any(untold),
    });
}

/// Tells that somebody who is known may not do what they asked.
fn denied(refusal: &Refusal, context: &Context<'_>) {
    let audit = &context.runtime.audit;
    let now = context.runtime.board.time.now();
    let Some(untold) = audit.may_tell(&audit.denials, now) else {
        return;
    };
    let record = &context.record;
    audit.tell(&AuthorizationDenied {
        request: record.id.as_str(),
        decision: record.decision.as_str(),
        who: record.identity.as_deref().map(who).unwrap_or_default(),
        client: record.client,
        operation: record.operation.map(Operation::as_str),
        model: record.model.as_deref(),
        status: refusal.status().into(),
        reason: refusal.reason.words().reason,
        generation: context.snapshot.generation,
        untold: if_any(untold),
    });
}

/// Tells that a call did not fit within a limit.
fn limit_hit(refusal: &Refusal, context: &Context<'_>) {
    let audit = &context.runtime.audit;
    let now = context.runtime.board.time.now();
    let Some(untold) = audit.may_tell(&audit.denials, now) else {
        return;
    };
    let record = &context.record;
    audit.tell(&LimitHit {
        request: record.id.as_str(),
        decision: record.decision.as_str(),
        who: record.identity.as_deref().map(who).unwrap_or_default(),
        client: record.client,
        model: record.model.as_deref(),
        status: refusal.status().into(),
        reason: refusal.reason.words().reason,
        limit: refusal.limit.as_deref().map(|told| Fell {
            name: &told.name,
            scope: told.scope,
            measure: told.measure,
            window: told.window,
            reset: told.reset_time.as_deref(),
        }),
        untold: if_any(untold),
    });
}

/// None is not told.
fn if_any(untold: u64) -> Option<u64> {
    (untold > 0).then_some(untold)
}

/// What a refusal is about.
enum Kind {
    Authentication,
    Authorization,
    Limit,
    /// What the call itself is, or how things stand upstream.
    Other,
}

fn kind(reason: Reason) -> Kind {
    match reason {
        Reason::BindingMismatch
        | Reason::CredentialMalformed
        | Reason::CredentialMissing
        | Reason::CredentialUnknown
        | Reason::SessionExpired
        | Reason::TokenRevoked => Kind::Authentication,
        Reason::AuthorizationDenied | Reason::ModelDenied | Reason::PermissionDenied => {
            Kind::Authorization
        }
        Reason::BudgetSpent | Reason::QuotaSpent | Reason::RateLimited => Kind::Limit,
        Reason::AuditUnavailable
        | Reason::BodyTooLarge
        | Reason::Draining
        | Reason::InvalidBody
        | Reason::InvalidModel
        | Reason::InvalidRequest
        | Reason::LimitsUnavailable
        | Reason::MethodNotAllowed
        | Reason::ModelCooldown
        | Reason::ModelNotFound
        | Reason::NoCredential
        | Reason::Overloaded
        | Reason::ProxyRequest
        | Reason::RequestTimeout
        | Reason::StorageUnavailable
        | Reason::UnknownPath
        | Reason::UnsupportedPathForModel
        | Reason::UpstreamFailed
        | Reason::UpstreamIncomplete
        | Reason::UpstreamTimeout
        | Reason::UpstreamUnreachable => Kind::Other,
    }
}

/// What the caller says of itself. Of a header that is there twice the first.
fn claimed<'n>(head: &RequestHeader, query: &str, names: &'n [HeaderName]) -> Claimed<'n> {
    let mut claimed = Claimed::default();
    let mut known = None;
    for name in names {
        if let Some(value) = head.headers.get(name) {
            // A key that was put into the wrong header is not on record for that.
            let known = known.get_or_insert_with(|| identify::brought(&head.headers, query));
            claimed.add(name.as_str(), value.as_bytes(), known);
        }
    }
    claimed
}

fn user_agent(head: &RequestHeader) -> Option<&str> {
    head.headers.get(USER_AGENT)?.to_str().ok()
}
