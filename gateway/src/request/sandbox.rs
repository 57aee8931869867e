//! Somebody unknown is told where to sign in. A coding agent shows its person what a model says,
//! and often nothing of an error: so where the call is one whose answer is a text, the text is said
//! as a model would say it (F10). The agent sends it back with every later call of the
//! conversation, and it is taken out again there (F12).

use bytes::Bytes;
use http::Response;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use memchr::memmem;
use pingora::protocols::http::ServerSession;
use turnpike_api::{Clock, Operation};
use turnpike_providers::spoken::{Speech, Spoken, say, unsay};

use super::identify::{MaySignIn, Stranger};
use super::{Connection, Stop, body, read, respond_as};
use crate::audit::calls;
use crate::context::Context;
use crate::record::Ending;
use crate::refusal::{Reason, Refusal};
use crate::sso::Sso;

/// More than agents send in their first calls.
const MAX_BODY: u64 = 4 << 20;

/// In all marks, and in the ids of all answers that a conversation may go on from.
const TRACE: &[u8] = b"_sandbox_";
/// What stands before it in the one and in the other: much code is about sandboxes.
const BEFORE: [&[u8]; 2] = [b"turnpike", b"resp"];

/// What was asked for.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) operation: Operation,
    pub(super) model_in_path: Option<&'a str>,
    pub(super) query: &'a str,
}

/// Answers with where to sign in, or with a refusal that says it.
pub(super) async fn answer(
    session: &mut ServerSession,
    context: &mut Context<'_>,
    call: Call<'_>,
    stranger: Stranger,
) -> Result<Connection, Stop> {
    let at = context.at().clone();
    let Some((sso, login)) = at.sso.as_deref().zip(stranger.may_sign_in.as_ref()) else {
        return Err(stranger.refusal.into());
    };
    let is_said = sso.sandbox && may_be_small(session);
    if !is_said || !call.operation.answers_with_text() {
        return Err(told(stranger, context).into());
    }
    let share = body::Share::of_a_stranger(context).up_to(MAX_BODY);
    let (operation, model) = (call.operation, call.model_in_path);
    let asked = match read::read(session, context, operation, model, share).await {
        Ok(asked) => asked,
        // Its length was not announced.
        Err(Stop::Refused(refusal)) if refusal.reason == Reason::BodyTooLarge => {
            return Err(told(stranger, context).into());
        }
        Err(stop) => return Err(stop),
    };
    let now = context.runtime.board.time.now();
    let (url, mark) = (link(sso, login, context, now)?, sso.marker.mint());
    let mark = mark.map_err(|error| no_randomness(&error))?;
    let spoken = say(&Speech {
        operation: call.operation,
        model: &asked.ask.model,
        stream: asked.ask.stream,
        // The only reason why a stream of chunks is not made to state its usage.
        include_usage: asked.ask.stream && asked.usage.is_none(),
        sse: call.query.split('&').any(|pair| pair == "alt=sse"),
        text: &text(login, &url, &mark),
        nonce: &mark[mark.len() - 24..],
        now: now / 1000,
    });
    let Some(spoken) = spoken else {
        return Err(told(stranger, context).into());
    };
    let (head, body) = response(spoken)?.into_parts();
    let reason = stranger.refusal.reason;
    calls::not_let_in(Some(session.req_header()), 200, reason, context);
    let connection = respond_as(session, context, head, body).await?;
    context.record.ending = Ending::Refused {
        status: 200,
        reason,
    };
    Ok(connection)
}

/// The refusal, with where to sign in if that would help.
pub fn told(stranger: Stranger, context: &Context<'_>) -> Refusal {
    let Stranger {
        mut refusal,
        may_sign_in,
        ..
    } = stranger;
    if let Some((sso, login)) = context.at().sso.as_deref().zip(may_sign_in) {
        let now = context.runtime.board.time.now();
        match link(sso, &login, context, now) {
            Ok(url) => refusal.message = format!("{}. Sign in at {url}", refusal.message).into(),
            Err(failed) => return failed,
        }
    }
    refusal
}

/// The body without what we said ourselves.
pub(super) fn unsaid(body: Bytes, context: &Context<'_>) -> Bytes {
    let Some(sso) = context.tenant.sso.as_deref() else {
        return body;
    };
    let mut traces = memmem::find_iter(&body, TRACE);
    if !traces.any(|at| BEFORE.iter().any(|before| body[..at].ends_with(before))) {
        return body;
    }
    let unsaid = unsay(&body, |turn| sso.marker.is_in(turn));
    unsaid.map_or(body, Bytes::from)
}

/// Whether there is a body that is not known to be too large: one that comes in chunks ends where it
/// is.
fn may_be_small(session: &mut ServerSession) -> bool {
    let announced = session.req_header().headers.get(CONTENT_LENGTH);
    match announced.map(|value| value.to_str().ok()?.parse::<u64>().ok()) {
        Some(len) => len.is_some_and(|len| len <= MAX_BODY),
        None => !session.is_body_empty(),
    }
}

fn link(sso: &Sso, login: &MaySignIn, context: &Context<'_>, now: u64) -> Result<String, Refusal> {
    let renews = match login {
        MaySignIn::Anew => None,
        MaySignIn::Renews(id) => Some(id.as_str()),
    };
    let link = sso
        .links
        .mint_below(&context.site().public_url, renews, now);
    link.map_err(|error| no_randomness(&error))
}

fn text(login: &MaySignIn, url: &str, mark: &str) -> String {
    let (head, before, after) = match login {
        MaySignIn::Anew => (
            "Authentication Required",
            "Open this page and sign in:",
            "You receive an agent token there. Put it in the API-key field of this agent, and send your message again.",
        ),
        MaySignIn::Renews(_) => (
            "Re-Authentication Required",
            "Session expired. Open this page and sign in again:",
            "Your agent token works again then: there is nothing to reconfigure. Send your message again.",
        ),
    };
    format!("{head}\n\n{before}\n\n{url}\n\n{after}\n\n({mark})")
}

fn response(spoken: Spoken) -> Result<Response<Bytes>, Refusal> {
    Response::builder()
        .header(CONTENT_TYPE, spoken.content_type)
        .header(CACHE_CONTROL, "no-store")
        .header("x-auth-required", "1")
        .body(spoken.body.into())
        .map_err(|error| Refusal::new(Reason::Overloaded, error.to_string()))
}

fn no_randomness(error: &getrandom::Error) -> Refusal {
    Refusal::new(
        Reason::Overloaded,
        format!("the gateway gets no random numbers from its system: {error}"),
    )
}
