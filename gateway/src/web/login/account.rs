//! What a person can do who is signed in: make, see and revoke their own agent tokens, and leave.

use axum::extract::RawQuery;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tracing::info;
use turnpike_audit::events::{Logout, Token};
use turnpike_identity::agent_tokens;
use turnpike_identity::sso::{Session, session};

use super::cookies;
use super::desk::Desk;
use super::form::{Form, put_back};
use super::issue::{Failed, issue};
use super::page::see_other;
use super::pages::{self, LogoutPage, Row, SignedOutPage, Snippet, TokenPage, TokensPage, When};
use super::problem::Problem;
use crate::audit::person;
use crate::upstream::roll::time;

/// `GET /auth/success`: where a login ends.
pub(super) async fn welcome(desk: Desk, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let query = Form::read(query.unwrap_or_default().as_bytes());
    let is_anothers = query.get("link") == "other";
    let Some(session) = desk.session().await? else {
        return Ok(see_other("/auth/login"));
    };
    list(&desk, &session, Arrival::Login { is_anothers }, None).await
}

/// `GET /auth/tokens`.
pub(super) async fn tokens(desk: Desk) -> Result<Response, Problem> {
    let Some(session) = desk.session().await? else {
        return Ok(see_other("/auth/login"));
    };
    list(&desk, &session, Arrival::Later, None).await
}

/// `POST /auth/success`: a new token, shown this once.
pub(super) async fn create(desk: Desk, form: Form) -> Result<Response, Problem> {
    let name = form.get("name");
    let session = match desk.session().await? {
        None => return Err(over(name)),
        Some(session) => session,
    };
    if !desk.is_ours(&form) {
        return mend(&desk, &session, Mend::Stale, name).await;
    }
    let issued = match issue(&desk, &session, name).await {
        Ok(issued) => issued,
        Err(Failed::Name) => return mend(&desk, &session, Mend::Name, name).await,
        Err(Failed::Problem(problem)) => return Err(problem),
    };
    told(&desk, &session, "issued", &issued.record.id);
    info!(
        person = session.person.shown(),
        token = issued.record.id,
        client = %desk.client,
        "agent token made"
    );
    let token = issued.token.expose();
    if desk.as_json {
        let body = json!({"id": issued.record.id, "name": issued.record.name, "token": token});
        return Ok((StatusCode::CREATED, axum::Json(body)).into_response());
    }
    Ok(pages::html(&TokenPage {
        person: session.person.shown(),
        name: &issued.record.name,
        token,
        until: &When::at(session.expires_at),
        snippets: &Snippet::all(&desk.site.public_url, token),
    }))
}

/// `POST /auth/tokens/revoke`: one's own only.
pub(super) async fn revoke(desk: Desk, form: Form) -> Result<Response, Problem> {
    let session = desk.signed_in(&form).await?;
    let (id, store) = (form.get("id"), desk.store());
    let theirs = session::tokens(store, &session).await?;
    if !theirs.iter().any(|token| token.id == id) {
        return Err(Problem::new(
            404,
            "unknown_token",
            "You have no such agent token",
        ));
    }
    let revoked = agent_tokens::revoke(store, id, desk.now).await;
    revoked.map_err(session::SessionError::from)?;
    desk.runtime.agent_tokens.read_one(id, store).await?;
    told(&desk, &session, "revoked", id);
    info!(person = session.person.shown(), token = id, client = %desk.client, "agent token revoked");
    Ok(see_other("/auth/tokens"))
}

/// `GET /auth/logout`.
pub(super) async fn ask_logout(desk: Desk) -> Result<Response, Problem> {
    match desk.session().await? {
        None => Ok(pages::html(&SignedOutPage {})),
        Some(session) => Ok(pages::html(&LogoutPage {
            person: session.person.shown(),
            csrf: &desk.form_seal(),
        })),
    }
}

/// `POST /auth/logout`: the session ends, in every browser, and its tokens stop.
pub(super) async fn logout(desk: Desk, form: Form) -> Result<Response, Problem> {
    let session = desk.signed_in(&form).await?;
    desk.runtime.sign_out(&session.person.key()).await?;
    desk.runtime.audit.tell(&Logout {
        who: person(&session.person),
        client: Some(desk.client),
    });
    info!(person = session.person.shown(), client = %desk.client, "logout");
    let mut response = pages::html(&SignedOutPage {});
    cookies::set(&mut response, cookies::SESSION, "", 0, desk.sso.is_secure);
    Ok(response)
}

/// What became of an agent token of theirs is on record.
fn told(desk: &Desk, session: &Session, change: &str, token_id: &str) {
    desk.runtime.audit.tell(&Token {
        change,
        token_id,
        who: person(&session.person),
        client: Some(desk.client),
        program: None,
    });
}

/// What was typed is not lost with the session.
fn over(name: &str) -> Problem {
    let problem = Problem::new(401, "session_over", "Your session is over");
    match put_back(name) {
        "" => problem.with("Sign in again."),
        name => problem.with(format!("Sign in again. The name you typed: {name}")),
    }
}

/// What is wrong with a form that makes a token.
enum Mend {
    Name,
    Stale,
}

/// The page once more, with what was typed.
async fn mend(
    desk: &Desk,
    session: &Session,
    what: Mend,
    typed: &str,
) -> Result<Response, Problem> {
    let (status, wrong) = match what {
        Mend::Name => (400, "A name has 1 to 100 printable characters."),
        Mend::Stale => (
            403,
            "This page was open while you signed in or out elsewhere. Look at the name and send it again.",
        ),
    };
    if desk.as_json {
        return Err(match what {
            Mend::Name => Problem::new(400, "invalid_name", wrong),
            Mend::Stale => Problem::form(),
        });
    }
    let mut response = list(
        desk,
        session,
        Arrival::Later,
        Some((wrong, put_back(typed))),
    )
    .await?;
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
    Ok(response)
}

/// How somebody came to their tokens.
enum Arrival {
    Login { is_anothers: bool },
    Later,
}

async fn list(
    desk: &Desk,
    session: &Session,
    arrival: Arrival,
    wrong: Option<(&str, &str)>,
) -> Result<Response, Problem> {
    let tokens = session::tokens(desk.store(), session).await?;
    if desk.as_json {
        let tokens = tokens.iter().map(|token| {
            json!({
                "id": token.id,
                "name": token.name,
                "state": token.state(desk.now).as_str(),
                "created_at": time(token.created_at),
            })
        });
        let body = json!({
            "email": session.person.email,
            "subject": session.person.subject,
            "provider": session.provider,
            "expires_at": time(session.expires_at),
            "tokens": tokens.collect::<Vec<_>>(),
        });
        return Ok(axum::Json(body).into_response());
    }
    let rows: Vec<Row> = tokens
        .iter()
        .map(|token| Row::of(token, desk.now))
        .collect();
    Ok(pages::html(&TokensPage {
        person: session.person.shown(),
        until: &When::at(session.expires_at),
        csrf: &desk.form_seal(),
        has_just_come: matches!(arrival, Arrival::Login { .. }),
        is_anothers: matches!(arrival, Arrival::Login { is_anothers: true }),
        works_again: rows.iter().any(|row| row.is_active),
        rows: &rows,
        wrong: wrong.map(|(wrong, _)| wrong),
        typed: wrong.map_or("", |(_, typed)| typed),
    }))
}
