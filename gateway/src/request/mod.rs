//! The path: one file a stage, in order.
//!
//! 1. [`identify`]: who is calling? Somebody unknown is told where to sign in ([`sandbox`]).
//! 2. [`read`]: the [`body`], bounded, and what it asks.
//! 3. [`authorize`]: may they ask it?
//! 4. [`route`]: who serves the model?
//! 5. [`admit`]: does it fit within their limits? Taken of all together, settled when it is over.
//! 6. [`select`]: with which credential? Once an attempt.
//! 7. [`forward`]: the attempts, until one is committed.
//! 8. [`stream`]: the answer, chunk by chunk, past the [`count`].
//! 9. [`settle`]: the record is told, exactly once.

pub mod admit;
mod answer;
pub mod authorize;
pub mod body;
mod client_address;
pub mod cors;
mod count;
pub mod forward;
pub mod identify;
mod let_in;
pub mod limit_fell;
pub mod limit_headers;
pub mod model_limits;
pub mod no_credential;
pub mod read;
pub mod route;
pub mod sandbox;
pub mod select;
mod session;
mod settle;
pub mod stream;
mod usage_chunk;

use http::{HeaderName, HeaderValue, Method, Version, header};
use pingora::http::RequestHeader;
use pingora::protocols::http::ServerSession;
use turnpike_api::{Dialect, Operation};

pub use answer::{refuse, respond, respond_as, taken};
pub use client_address::client_address;
pub use count::others_first;
pub use settle::settle;

use crate::audit::{calls, prompts};
use crate::background::affinity;
use crate::context::Context;
use crate::path::{self, Resource};
use crate::record::Ending;
use crate::refusal::{Reason, Refusal};
use crate::{listing, web};

/// Why a request goes no further.
pub enum Stop {
    /// The caller is told why.
    Refused(Refusal),
    /// There is nobody left to tell.
    ClientGone,
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

const ANTHROPIC_VERSION: HeaderName = HeaderName::from_static("anthropic-version");
const GOOG_API_KEY: HeaderName = HeaderName::from_static("x-goog-api-key");

/// What becomes of a connection after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// It may serve another request.
    Keep,
    /// It is closed in good order.
    Close,
    /// It is cut, so that an answer which is not whole does not look whole.
    Cut,
}

/// Serves one request.
pub async fn serve(session: &mut ServerSession, context: &mut Context<'_>) -> Connection {
    if let Err(refusal) = names_this_host(session).and(no_forward_proxy(session, context)) {
        context.leave_untraced();
        return refuse(session, context, Dialect::OpenAi, refusal).await;
    }
    let method = session.req_header().method.clone();
    // Cheap: a URI is shared bytes. The session is written to while the path is still read.
    let uri = session.req_header().uri.clone();
    let query = uri.query().unwrap_or_default();
    let canonical = path::canonical(uri.path());
    if context.page.is_some()
        && let Some(wanted) = cors::asked(&method, &session.req_header().headers, &canonical)
    {
        context.leave_unrecorded();
        let answered = Box::pin(cors::answer(session, context, &wanted)).await;
        return answered.unwrap_or(Connection::Cut);
    }
    let resource = path::parse(&method, &canonical);
    if resource.is_for_people() {
        // Pages of elsewhere have no business there.
        context.page = None;
    }
    if !resource.is_of_models() {
        context.leave_unrecorded();
    }
    // Nobody asks who it is.
    if matches!(resource, Resource::WrongMethod { .. }) {
        context.leave_untraced();
    }
    let resource = in_the_callers_dialect(resource, session.req_header(), query);
    let dialect = resource.dialect();
    // Nothing is done that could not be told, nor begun that would be cut.
    if resource.is_put_on_record()
        && let Err(refusal) = still_serves(context).and(context.runtime.audit.has_room())
    {
        context.leave_untraced();
        return refuse(session, context, dialect, refusal).await;
    }

    let served = match resource {
        Resource::Call { operation, model } => {
            let line = Line {
                method: &method,
                path: &canonical,
                query,
            };
            proxied(session, context, operation, model.as_deref(), line).await
        }
        Resource::Models { dialect } => listing::models(session, context, dialect, query).await,
        Resource::Model { dialect, id } => {
            listing::model(session, context, dialect, &id, query).await
        }
        Resource::Root | Resource::Login if web::is_login(session, context, &canonical) => {
            web::login_page(session, context, &canonical, query).await
        }
        Resource::Login => Err(unknown_path(&canonical, context).into()),
        Resource::Root => root(session, context).await,
        Resource::Page => web::page(session, context, &canonical, query).await,
        Resource::Management if context.runtime.listening.shared => {
            web::page(session, context, &canonical, query).await
        }
        Resource::WrongMethod { allow, .. } => Err(wrong_method(&canonical, allow).into()),
        Resource::Management | Resource::Unknown { .. } => {
            Err(unknown_path(&canonical, context).into())
        }
    };
    match served {
        Ok(connection) => connection,
        Err(Stop::Refused(refusal)) => refuse(session, context, dialect, refusal).await,
        Err(Stop::ClientGone) => {
            context.record.ending = Ending::ClientGone;
            Connection::Cut
        }
    }
}

/// A call's request line, credentials still in its query.
#[derive(Clone, Copy)]
pub struct Line<'a> {
    pub method: &'a Method,
    pub path: &'a str,
    pub query: &'a str,
}

/// The path of a call, top to bottom.
async fn proxied(
    session: &mut ServerSession,
    context: &mut Context<'_>,
    operation: Operation,
    model_in_path: Option<&str>,
    line: Line<'_>,
) -> Result<Connection, Stop> {
    context.record.operation = Some(operation);
    let identity = match identify::identify(session.req_header(), line.query, context).await {
        Ok(identity) => identity,
        // Not on the path of those who are known, and not in the memory of their calls.
        Err(stranger) => {
            let call = sandbox::Call {
                operation,
                model_in_path,
                query: line.query,
            };
            return Box::pin(sandbox::answer(session, context, call, stranger)).await;
        }
    };
    let share = body::Share::of_known(context);
    let asked = read::read(session, context, operation, model_in_path, share).await?;
    let permit = authorize::authorize(&identity, asked.ask, context).await?;
    let route = route::route(&identity, &permit, context).await?;
    let admission = admit::admit(&identity, &permit, &route, context).await?;
    if let Some(ttl) = context.snapshot.affinity {
        let headers = &session.req_header().headers;
        let providers = &route.pool().providers;
        context.session = session::session(headers, &asked.body.bytes, &identity, providers);
        // Boxed: it seldom is.
        if let Some(session) = context.session
            && affinity::is_new(context.runtime, session, ttl)
        {
            Box::pin(affinity::recall(context.runtime, session)).await;
        }
    }
    let inject = context.snapshot.inject_usage;
    let edits = forward::Edits {
        model: asked.model_span,
        usage: asked.usage.filter(|_| inject),
        needs_usage: admission.needs_usage(),
    };
    calls::begin(session.req_header(), line.query, operation, context).await?;
    prompts::tell(
        session.req_header(),
        line.query,
        operation,
        &asked.body.bytes,
        context,
    );
    let call = forward::Outgoing::new(line, &permit, edits, asked.body);
    let answer = forward::forward(session, context, &permit, &admission, &route, &call).await?;
    // The body has been sent for the last time: a long answer should not hold its memory.
    drop(call);
    stream::stream(session, context, answer).await
}

/// HTTP/1.1 requests name their host (RFC 9112, section 3.2); one that does not was put together
/// by something that should not be trusted with framing either.
fn names_this_host(session: &ServerSession) -> Result<(), Refusal> {
    let head = session.req_header();
    if head.version == Version::HTTP_11 && !head.headers.contains_key(header::HOST) {
        return Err(Refusal::new(
            Reason::InvalidRequest,
            "the request has no Host header, which HTTP/1.1 requires",
        ));
    }
    Ok(())
}

/// `CONNECT` and absolute-form targets: somebody configured the gateway as a forward proxy.
fn no_forward_proxy(session: &ServerSession, context: &Context<'_>) -> Result<(), Refusal> {
    let head = session.req_header();
    // Told by the target's bytes: Pingora's URI of an absolute-form one is its path alone.
    let absolute =
        !session.is_http2() && !matches!(head.raw_path().first(), Some(b'/' | b'?' | b'*') | None);
    if head.method != Method::CONNECT && !absolute {
        return Ok(());
    }
    let url = &context.site().public_url;
    Err(Refusal::new(
        Reason::ProxyRequest,
        format!(
            "this is not a forward proxy: unset the proxy and set the client's base URL to {url}/v1 ({url} for Anthropic and Gemini clients)"
        ),
    ))
}

/// `/v1/models` is a path of all three dialects; the others' clients show whose they are.
fn in_the_callers_dialect<'p>(
    resource: Resource<'p>,
    head: &RequestHeader,
    query: &str,
) -> Resource<'p> {
    match resource {
        Resource::Models {
            dialect: Dialect::OpenAi,
        } => Resource::Models {
            dialect: callers_dialect(head, query),
        },
        Resource::Model {
            dialect: Dialect::OpenAi,
            id,
        } => Resource::Model {
            dialect: callers_dialect(head, query),
            id,
        },
        other => other,
    }
}

fn callers_dialect(head: &RequestHeader, query: &str) -> Dialect {
    let is_key = |pair: &str| pair.starts_with("key=");
    if head.headers.contains_key(ANTHROPIC_VERSION) {
        Dialect::Anthropic
    } else if head.headers.contains_key(GOOG_API_KEY) || query.split('&').any(is_key) {
        Dialect::Gemini
    } else {
        Dialect::OpenAi
    }
}

fn wrong_method(path: &str, allow: &'static str) -> Refusal {
    let message = format!("{path} is asked with {allow}");
    Refusal {
        allow: Some(allow),
        ..Refusal::new(Reason::MethodNotAllowed, message)
    }
}

fn still_serves(context: &Context<'_>) -> Result<(), Refusal> {
    match context.runtime.drain.is_cut() {
        true => Err(draining()),
        false => Ok(()),
    }
}

/// There was no answer yet.
fn draining() -> Refusal {
    Refusal::new(
        Reason::Draining,
        "the gateway is shutting down: try again in a moment",
    )
}

fn unknown_path(path: &str, context: &Context<'_>) -> Refusal {
    let url = &context.site().public_url;
    let path: String = path.chars().take(120).collect();
    Refusal::new(
        Reason::UnknownPath,
        format!(
            "nothing is served at {path:?}; set the client's base URL to {url}/v1 for OpenAI clients, or to {url} for Anthropic and Gemini clients"
        ),
    )
}

/// Agents probe `/` without a credential before they send anything.
async fn root(session: &mut ServerSession, context: &mut Context<'_>) -> Result<Connection, Stop> {
    respond(
        session,
        context,
        200,
        HeaderValue::from_static("text/plain; charset=utf-8"),
        "Turnpike\n".into(),
    )
    .await
}
