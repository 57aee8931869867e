//! Who is logged in, and whose logins are slowed down.

use askama::Template;
use axum::extract::RawQuery;
use axum::response::Response;
use http::Method;
use serde::Deserialize;
use turnpike_config::plan::Scope;

use super::api::encoded;
use super::frame::{Frame, Place};
use super::list::{Part, Wanted};
use super::operator::{Operator, Sent};
use super::tokens::Owner;
use crate::web::form::Form;
use crate::web::page::{When, html, see_other};
use crate::web::problem::Problem;

#[derive(Deserialize)]
struct Sessions {
    sessions: Vec<SessionEntry>,
}

/// As the management API shows it.
#[derive(Deserialize)]
struct SessionEntry {
    id: String,
    person: Owner,
    provider: String,
    created_at: String,
    expires_at: String,
    is_live: bool,
    roles: Vec<String>,
    tokens: Vec<String>,
}

#[derive(Deserialize)]
struct Limits {
    login_rate_limits: Vec<LimitEntry>,
}

#[derive(Deserialize)]
struct LimitEntry {
    id: String,
    kind: String,
    attempts: u32,
    wait_until: Option<String>,
}

#[derive(Template)]
#[template(path = "admin/logins.html")]
struct LoginsPage<'p> {
    frame: &'p Frame,
    part: &'p Part<Row>,
    limits: &'p [LimitRow],
    may_write: bool,
}

struct Row {
    id: String,
    person: String,
    issuer: String,
    provider: String,
    since: When,
    until: When,
    is_live: bool,
    roles: String,
    tokens: usize,
}

struct LimitRow {
    id: String,
    shown: String,
    kind: String,
    attempts: u32,
    until: Option<When>,
}

#[derive(Template)]
#[template(path = "admin/end_session.html")]
struct EndPage<'p> {
    frame: &'p Frame,
    row: &'p Row,
}

/// `GET /admin/logins`.
pub(super) async fn list(
    operator: Operator,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Form::read(query.unwrap_or_default().as_bytes());
    let rows = sessions(&operator).await?;
    let part = Wanted::of(&query).of_all(rows, "/admin/logins", |row: &Row| {
        vec![&row.person, &row.issuer, &row.provider]
    });
    let api = &operator.visitor.pages.api;
    let limits: Limits = api.get(&operator.actor, "/login-rate-limits").await?;
    let limits = limits.login_rate_limits.into_iter().map(LimitRow::of);
    Ok(html(&LoginsPage {
        frame: &Frame::of(&operator, Place::Logins, &query),
        part: &part,
        limits: &limits.collect::<Vec<_>>(),
        may_write: operator.actor.may(Scope::SessionsWrite).is_ok(),
    }))
}

/// `GET /admin/logins/end?id=`.
pub(super) async fn ask_end(
    operator: Operator,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Form::read(query.unwrap_or_default().as_bytes());
    let mut rows = sessions(&operator).await?.into_iter();
    let row = rows.find(|row| row.id == query.get("id"));
    let row = row.ok_or_else(|| {
        Problem::new(404, "unknown_session", "It is not there")
            .with("No session has this id.")
            .towards("Logins", "/admin/logins")
    })?;
    Ok(html(&EndPage {
        frame: &Frame::of(&operator, Place::Logins, &query),
        row: &row,
    }))
}

/// `POST /admin/logins/end`.
pub(super) async fn end(Sent { operator, form }: Sent) -> Result<Response, Problem> {
    let path = format!("/sessions/{}", encoded(form.get("id")));
    let api = &operator.visitor.pages.api;
    api.send(&operator.actor, Method::DELETE, &path, None)
        .await?;
    Ok(see_other("/admin/logins?done=ended"))
}

/// `POST /admin/logins/clear`.
pub(super) async fn clear(Sent { operator, form }: Sent) -> Result<Response, Problem> {
    // Without an id it would be all of them.
    let path = format!("/login-rate-limits?id={}", encoded(form.get("id")));
    let api = &operator.visitor.pages.api;
    api.send(&operator.actor, Method::DELETE, &path, None)
        .await?;
    Ok(see_other("/admin/logins?done=cleared"))
}

async fn sessions(operator: &Operator) -> Result<Vec<Row>, Problem> {
    let api = &operator.visitor.pages.api;
    let listed: Sessions = api.get(&operator.actor, "/sessions").await?;
    Ok(listed.sessions.into_iter().map(Row::of).collect())
}

impl Row {
    fn of(entry: SessionEntry) -> Self {
        let (person, issuer) = entry.person.shown();
        Self {
            id: entry.id,
            person,
            issuer,
            provider: entry.provider,
            since: When::read(entry.created_at),
            until: When::read(entry.expires_at),
            is_live: entry.is_live,
            roles: entry.roles.join(", "),
            tokens: entry.tokens.len(),
        }
    }
}

impl LimitRow {
    /// What is after the kind says who it is; of browsers and people it is a digest.
    fn of(entry: LimitEntry) -> Self {
        let who = entry.id.split_once(' ').map_or("", |(_, who)| who);
        let who = who.rsplit(' ').next().unwrap_or_default();
        let shown = match who.len() {
            ..=43 => who.to_owned(),
            _ => format!("{}…", who.chars().take(12).collect::<String>()),
        };
        Self {
            shown,
            kind: entry.kind,
            attempts: entry.attempts,
            until: entry.wait_until.map(When::read),
            id: entry.id,
        }
    }
}
