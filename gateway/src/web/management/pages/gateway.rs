//! What runs, by which configuration.

use askama::Template;
use axum::extract::RawQuery;
use axum::http::{Method, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use turnpike_config::plan::Scope;

use super::frame::{Frame, Place};
use super::operator::{Operator, Sent};
use crate::web::form::Form;
use crate::web::page::{When, html, see_other};
use crate::web::problem::Problem;

const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// As the management API shows it.
#[derive(Deserialize)]
struct Effective {
    generation: u64,
    config: Value,
    last_read: LastRead,
}

/// What came of reading the configuration the last time.
#[derive(Deserialize)]
struct LastRead {
    at: String,
    /// `None` = it is in force.
    problem: Option<String>,
}

#[derive(Deserialize)]
struct LogLevel {
    level: String,
}

#[derive(Template)]
#[template(path = "admin/gateway.html")]
struct GatewayPage<'p> {
    frame: &'p Frame,
    version: &'p str,
    generation: u64,
    is_draining: bool,
    scopes: String,
    read: Option<(When, Option<String>)>,
    may_reload: bool,
    level: Option<String>,
    may_set_level: bool,
    levels: &'p [&'p str],
}

#[derive(Template)]
#[template(path = "admin/configuration.html")]
struct ConfigurationPage<'p> {
    frame: &'p Frame,
    generation: u64,
    text: &'p str,
}

/// `GET /admin/gateway`.
pub(super) async fn show(
    operator: Operator,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Form::read(query.unwrap_or_default().as_bytes());
    let (visitor, actor) = (&operator.visitor, &operator.actor);
    let api = &visitor.pages.api;
    let may = |scope| actor.may(scope).is_ok();
    let read = match may(Scope::ConfigRead) {
        false => None,
        true => {
            let effective: Effective = api.get(actor, "/config").await?;
            let LastRead { at, problem } = effective.last_read;
            Some((When::read(at), problem))
        }
    };
    let level = match may(Scope::LogsRead) {
        false => None,
        // A gateway without a log of its own has no level.
        true => api.get::<LogLevel>(actor, "/log-level").await.ok(),
    };
    let scopes: Vec<&str> = actor.scopes.iter().map(|scope| scope.as_str()).collect();
    Ok(html(&GatewayPage {
        frame: &Frame::of(&operator, Place::Gateway, &query),
        version: env!("CARGO_PKG_VERSION"),
        generation: visitor.snapshot.generation,
        is_draining: visitor.runtime.drain.is_begun(),
        scopes: scopes.join(", "),
        read,
        may_reload: may(Scope::ConfigWrite),
        may_set_level: level.is_some() && may(Scope::LogsWrite),
        level: level.map(|level| level.level),
        levels: &LEVELS,
    }))
}

/// `POST /admin/gateway/reload`.
pub(super) async fn reload(Sent { operator, .. }: Sent) -> Result<Response, Problem> {
    let api = &operator.visitor.pages.api;
    let sent = api.send(&operator.actor, Method::POST, "/reload", None);
    sent.await.map_err(to_gateway)?;
    Ok(see_other("/admin/gateway?done=reloaded"))
}

/// `POST /admin/gateway/log-level`.
pub(super) async fn set_log_level(Sent { operator, form }: Sent) -> Result<Response, Problem> {
    let api = &operator.visitor.pages.api;
    let body = json!({ "level": form.get("level") });
    let sent = api.send(&operator.actor, Method::PUT, "/log-level", Some(body));
    sent.await.map_err(to_gateway)?;
    Ok(see_other("/admin/gateway?done=level"))
}

/// `GET /admin/gateway/configuration`: what is in effect, its secrets blotted out.
pub(super) async fn configuration(operator: Operator) -> Result<Response, Problem> {
    let api = &operator.visitor.pages.api;
    let effective: Effective = api.get(&operator.actor, "/config").await?;
    let text = serde_json::to_string_pretty(&effective.config).unwrap_or_default();
    Ok(html(&ConfigurationPage {
        frame: &Frame::of(&operator, Place::Gateway, &Form::read(b"")),
        generation: effective.generation,
        text: &text,
    }))
}

/// `GET /admin/openapi.json`: the management API's document, which asks for a key.
pub(super) async fn document(operator: Operator) -> Result<Response, Problem> {
    let api = &operator.visitor.pages.api;
    let document = api.text(&operator.actor, "/openapi.json").await?;
    Ok(([(header::CONTENT_TYPE, "application/json")], document).into_response())
}

fn to_gateway(problem: Problem) -> Problem {
    problem.towards("Back", "/admin/gateway")
}
