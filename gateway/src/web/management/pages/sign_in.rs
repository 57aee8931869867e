//! An operator comes, by a key or by their login, and goes.

use askama::Template;
use axum::extract::RawQuery;
use axum::http::{StatusCode, header};
use axum::response::Response;
use turnpike_api::Secret;
use turnpike_audit::Action;
use turnpike_identity::sso::Session;
use turnpike_identity::sso::operator::{self, Ticket, Who};

use super::super::access::Actor;
use super::super::refusal::Refused;
use super::operator::{Sent, Visitor};
use crate::web::form::Form;
use crate::web::page::{html, see_other};
use crate::web::problem::Problem;

#[derive(Template)]
#[template(path = "admin/sign_in.html")]
struct SignInPage<'p> {
    csrf: &'p str,
    has_keys: bool,
    by_login: bool,
    wrong: Option<&'p str>,
}

#[derive(Template)]
#[template(path = "admin/welcome.html")]
struct WelcomePage<'p> {
    name: &'p str,
}

#[derive(Template)]
#[template(path = "admin/signed_out.html")]
struct SignedOutPage {}

/// `GET /admin/sign-in`.
pub(super) async fn ask(visitor: Visitor) -> Result<Response, Problem> {
    match visitor.actor().await? {
        Some(_) => Ok(see_other("/admin")),
        None => page(visitor, StatusCode::OK, None),
    }
}

/// `POST /admin/sign-in`: a key, judged as one that a program sends.
pub(super) async fn typed(visitor: Visitor, form: Form) -> Result<Response, Problem> {
    let snapshot = visitor.snapshot.clone();
    let terms = &snapshot.management;
    if !terms.has_keys() {
        return Err(Problem::nothing_here());
    }
    if !visitor.is_ours(&form) {
        let wrong = "This page was open for too long, or your browser keeps no cookies. Type the key once more.";
        return page(visitor, StatusCode::FORBIDDEN, Some(wrong));
    }
    let key = Secret::new(form.get("key"));
    if key.expose().trim().is_empty() {
        return page(visitor, StatusCode::BAD_REQUEST, Some("Type a key."));
    }
    let (peer, attempts) = (visitor.peer, &visitor.pages.office.attempts);
    let (actor, mark) = match terms.admit_typed(peer, &key, attempts, visitor.now) {
        Ok(admitted) => admitted,
        Err(Refused::TooMany { seconds }) => return Err(Problem::too_many_keys(seconds)),
        Err(_) => {
            let wrong = "This is no key of the management API.";
            return page(visitor, StatusCode::UNAUTHORIZED, Some(wrong));
        }
    };
    let cookie = operator::sign_in(visitor.store(), Who::Key(mark), visitor.now).await?;
    actor.did(Action::SignedInWithKey, &visitor.peer.to_string());
    let mut response = see_other("/admin");
    visitor.keep_session(&mut response, &cookie);
    Ok(response)
}

/// `GET /admin/sign-in/login`: off to where people log in. Where they come back to is configured; the
/// browser must be there already, for its cookies do not go with it.
///
/// With `?tenant=` it is where a tenant's people do.
pub(super) async fn to_login(
    mut visitor: Visitor,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Form::read(query.unwrap_or_default().as_bytes());
    let snapshot = visitor.snapshot.clone();
    let entrance = &snapshot.management.entrance;
    if !entrance.by_login {
        return Err(Problem::nothing_here());
    }
    let host = visitor.headers.get(header::HOST);
    let host = host.and_then(|host| host.to_str().ok());
    if host.is_some_and(|host| !entrance.is_at(host)) {
        let home = format!("{}/admin", entrance.public_url);
        return Err(Problem::new(400, "other_address", "Open this page at its own address")
            .with(format!("Who logs in comes back to {home} (`admin.public_url`). You are at another address."))
            .towards("Go there", &home));
    }
    visitor.name_browser()?;
    let challenge = visitor.challenge().unwrap_or_default();
    let site = snapshot.tenants.site_of(query.get("tenant"));
    let url = format!("{}/auth/operator?challenge={challenge}", site.public_url);
    let mut response = see_other(&url);
    visitor.keep_browser(&mut response);
    Ok(response)
}

/// `GET /admin/sign-in/return`: back from there, with a ticket.
pub(super) async fn returned(
    visitor: Visitor,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    if !visitor.entrance().by_login {
        return Err(Problem::nothing_here());
    }
    let query = Form::read(query.unwrap_or_default().as_bytes());
    let challenge = visitor.challenge().ok_or_else(no_ticket)?;
    let (store, now) = (visitor.store(), visitor.now);
    let ticket = Ticket::take(store, query.get("ticket"), &challenge).await?;
    let mark = ticket.ok_or_else(no_ticket)?.mark;
    let person = Session::of_mark(&mark, store, now).await?;
    let person = person.ok_or_else(Problem::operator_session_over)?;
    let actor = Actor::of_person(&person, &visitor.snapshot);
    let actor = actor.ok_or_else(Problem::operator_session_over)?;
    let actor = actor.at(visitor.peer);
    let cookie = operator::sign_in(store, Who::Person(mark.into()), now).await?;
    actor.did(Action::SignedInThroughLogin, &visitor.peer.to_string());
    // A page, and not sent on at once: a browser that comes from another site would not take this
    // cookie along.
    let mut response = html(&WelcomePage { name: &actor.name });
    visitor.keep_session(&mut response, &cookie);
    Ok(response)
}

/// `POST /admin/sign-out`.
pub(super) async fn leave(Sent { operator, .. }: Sent) -> Result<Response, Problem> {
    operator.end().await?;
    let visitor = &operator.visitor;
    operator
        .actor
        .did(Action::SignedOut, &visitor.peer.to_string());
    let mut response = html(&SignedOutPage {});
    visitor.keep_session(&mut response, "");
    Ok(response)
}

fn no_ticket() -> Problem {
    Problem::new(400, "invalid_ticket", "This sign-in is no longer good")
        .with("It was used before, took longer than a minute, or was begun in another browser. Begin again.")
        .towards("Sign in", "/admin/sign-in")
}

fn page(
    mut visitor: Visitor,
    status: StatusCode,
    wrong: Option<&str>,
) -> Result<Response, Problem> {
    visitor.name_browser()?;
    let mut response = html(&SignInPage {
        csrf: &visitor.seal(),
        has_keys: visitor.snapshot.management.has_keys(),
        by_login: visitor.entrance().by_login,
        wrong,
    });
    *response.status_mut() = status;
    visitor.keep_browser(&mut response);
    Ok(response)
}
