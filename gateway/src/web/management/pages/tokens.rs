//! Agent tokens, everybody's.

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
use crate::web::form::Form;
use crate::web::page::{When, html, see_other};
use crate::web::problem::Problem;

#[derive(Deserialize)]
struct Listed {
    tokens: Vec<Entry>,
}

/// As the management API shows it.
#[derive(Deserialize)]
struct Entry {
    id: String,
    name: String,
    state: String,
    owner: Option<Owner>,
    created_at: String,
    auth_expires_at: Option<String>,
    last_used_at: Option<String>,
    last_used_ip: Option<String>,
    last_used_user_agent: Option<String>,
    ends_at: Option<String>,
    #[serde(default)]
    cidrs: Vec<String>,
    #[serde(default)]
    certificates: Vec<String>,
}

/// A person, as the management API shows them.
#[derive(Deserialize)]
pub(super) struct Owner {
    issuer: String,
    subject: String,
    email: Option<String>,
}

impl Owner {
    /// As people know them.
    pub(super) fn shown(self) -> (String, String) {
        (self.email.unwrap_or(self.subject), self.issuer)
    }
}

#[derive(Template)]
#[template(path = "admin/tokens.html")]
struct TokensPage<'p> {
    frame: &'p Frame,
    part: &'p Part<Row>,
    may_write: bool,
}

#[derive(Template)]
#[template(path = "admin/revoke_token.html")]
struct RevocationPage<'p> {
    frame: &'p Frame,
    row: &'p Row,
}

struct Row {
    id: String,
    name: String,
    state: String,
    is_revoked: bool,
    owner: Option<String>,
    created: When,
    /// When the session of its owner ends.
    until: Option<When>,
    used: Option<Use>,
    ends: Option<When>,
    bound: Option<String>,
}

struct Use {
    at: When,
    from: String,
    by: Option<String>,
}

/// `GET /admin/tokens`.
pub(super) async fn list(
    operator: Operator,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Form::read(query.unwrap_or_default().as_bytes());
    let api = &operator.visitor.pages.api;
    let listed: Listed = api.get(&operator.actor, "/tokens").await?;
    let rows = listed.tokens.into_iter().map(Row::of).collect();
    let part = Wanted::of(&query).of_all(rows, "/admin/tokens", |row: &Row| {
        let owner = row.owner.as_deref().unwrap_or_default();
        vec![&row.id, &row.name, &row.state, owner]
    });
    Ok(html(&TokensPage {
        frame: &Frame::of(&operator, Place::Tokens, &query),
        part: &part,
        may_write: operator.actor.may(Scope::TokensWrite).is_ok(),
    }))
}

/// `GET /admin/tokens/revoke?id=`.
pub(super) async fn ask_revocation(
    operator: Operator,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Form::read(query.unwrap_or_default().as_bytes());
    let path = format!("/tokens/{}", encoded(query.get("id")));
    let api = &operator.visitor.pages.api;
    let entry: Entry = api.get(&operator.actor, &path).await?;
    Ok(html(&RevocationPage {
        frame: &Frame::of(&operator, Place::Tokens, &query),
        row: &Row::of(entry),
    }))
}

/// `POST /admin/tokens/revoke`.
pub(super) async fn revoke(Sent { operator, form }: Sent) -> Result<Response, Problem> {
    let path = format!("/tokens/{}", encoded(form.get("id")));
    let api = &operator.visitor.pages.api;
    api.send(&operator.actor, Method::DELETE, &path, None)
        .await?;
    Ok(see_other("/admin/tokens?done=revoked"))
}

impl Row {
    fn of(entry: Entry) -> Self {
        let networks = entry.cidrs.join(", ");
        let bound = match (networks.as_str(), entry.certificates.len()) {
            ("", 0) => None,
            ("", _) => Some("client certificates".to_owned()),
            (networks, 0) => Some(networks.to_owned()),
            (networks, _) => Some(format!("{networks}, with client certificates")),
        };
        let used = entry.last_used_at.map(|at| Use {
            at: When::read(at),
            from: entry.last_used_ip.unwrap_or_default(),
            by: entry.last_used_user_agent,
        });
        Self {
            is_revoked: entry.state == "revoked",
            owner: entry.owner.map(|owner| owner.shown().0),
            created: When::read(entry.created_at),
            until: entry.auth_expires_at.map(When::read),
            used,
            ends: entry.ends_at.map(When::read),
            bound,
            id: entry.id,
            name: entry.name,
            state: entry.state,
        }
    }
}
