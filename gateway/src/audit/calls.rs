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
use crate::record::{Ending, Record};
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
    let (outcome, status, reason) = outcome(record);
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
        outcome,
        status: status.into(),
        reason,
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
    let (outcome, status, reason) = outcome(record);
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
        outcome,
        status: status.into(),
        reason,
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

/// The outcome, the status that the caller got, and why.
fn outcome(record: &Record) -> (&'static str, u16, Option<&'static str>) {
    match record.ending {
        Ending::Answered { status } => ("answered", status, None),
        Ending::Refused { status, reason } => ("refused", status, Some(reason)),
        Ending::Incomplete { status, reason } => ("incomplete", status, Some(reason)),
        Ending::ClientGone => ("client_gone", 499, None),
        Ending::Aborted => ("aborted", 500, None),
    }
}

/// Tells of a refusal that says something of who asked, or of a limit.
pub fn refused(head: Option<&RequestHeader>, refusal: &Refusal, context: &Context<'_>) {
    let audit = &context.runtime.audit;
    if !audit.is_kept() {
        return;
    }
    let (status, reason) = (refusal.status(), refusal.reason.words().reason);
    let kind = kind(refusal.reason);
    let untold = match kind {
        Kind::Authentication => return not_let_in(head, status, reason, context),
        Kind::Other => return,
        Kind::Authorization | Kind::Limit => {
            match audit.denials.may_tell(context.runtime.board.time.now()) {
                Some(untold) => untold,
                None => return,
            }
        }
    };
    let untold = (untold > 0).then_some(untold);
    match kind {
        Kind::Authentication | Kind::Other => {}
        Kind::Authorization => {
            let record = &context.record;
            audit.tell(&AuthorizationDenied {
                request: record.id.as_str(),
                decision: record.decision.as_str(),
                who: record.identity.as_deref().map(who).unwrap_or_default(),
                client: record.client,
                operation: record.operation.map(Operation::as_str),
                model: record.model.as_deref(),
                status: status.into(),
                reason,
                generation: context.snapshot.generation,
                untold,
            });
        }
        Kind::Limit => {
            let record = &context.record;
            audit.tell(&LimitHit {
                request: record.id.as_str(),
                decision: record.decision.as_str(),
                who: record.identity.as_deref().map(who).unwrap_or_default(),
                client: record.client,
                model: record.model.as_deref(),
                status: status.into(),
                reason,
                limit: refusal.limit.as_deref().map(|told| Fell {
                    name: &told.name,
                    scope: told.scope,
                    measure: told.measure,
                    window: told.window,
                    reset: told.reset_time.as_deref(),
                }),
                untold,
            });
        }
    }
}

/// Tells that somebody was not let in, and got this status.
pub fn not_let_in(
    head: Option<&RequestHeader>,
    status: u16,
    reason: &'static str,
    context: &Context<'_>,
) {
    let audit = &context.runtime.audit;
    if !audit.is_kept() {
        return;
    }
    let now = context.runtime.board.time.now();
    let Some(untold) = audit.strangers.may_tell(now) else {
        return;
    };
    let record = &context.record;
    audit.tell(&AuthenticationRefused {
        request: record.id.as_str(),
        decision: record.decision.as_str(),
        tenant: context.tenant.name(),
        client: record.client,
        user_agent: head.and_then(user_agent),
        status: status.into(),
        reason,
        untold: (untold > 0).then_some(untold),
    });
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
        | Reason::ShuttingDown
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
