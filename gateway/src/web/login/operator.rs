//! Operators who log in are sent on to their pages, which are at the admin listener.

use axum::extract::RawQuery;
use axum::response::Response;
use turnpike_identity::sso::operator::{Ticket, is_challenge};

use super::desk::Desk;
use super::form::Form;
use super::page::see_other;
use super::pages::{self, PassPage};
use super::problem::Problem;
use crate::web::management::Actor;

/// `GET /auth/operator`: back to where the operator came from, with a ticket. Where that is, the
/// configuration says; the browser says only what it is known by there.
pub(super) async fn pass(desk: Desk, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let query = Form::read(query.unwrap_or_default().as_bytes());
    let snapshot = &desk.snapshot;
    let Some(operators) = snapshot.management.pages_of_people() else {
        return Err(Problem::nothing_here());
    };
    let challenge = query.get("challenge");
    if !is_challenge(challenge) {
        return Err(
            Problem::new(400, "invalid_challenge", "Begin at the operator's page")
                .with("This address was not opened from there.")
                .towards("To the operator's page", &format!("{operators}/admin")),
        );
    }
    let Some(session) = desk.session().await? else {
        return Ok(see_other(&format!("/auth/login?{}", asking(challenge))));
    };
    if Actor::of_person(&session, snapshot).is_none() {
        let person = session.person.shown();
        tracing::warn!(person, client = %desk.client, "no role of this person opens the operator's pages");
        return Err(
            Problem::new(403, "no_role", "You may not manage this gateway")
                .with("No role of yours grants it. Ask your platform team for one.")
                .towards("Your agent tokens", "/auth/tokens"),
        );
    }
    let ticket = Ticket {
        challenge: challenge.to_owned(),
        mark: session.mark(),
    };
    let ticket = ticket.issue(desk.store()).await?;
    // A page, for a browser follows no form to another site, and it may come from one.
    Ok(pages::html(&PassPage {
        person: session.person.shown(),
        url: &format!("{operators}/admin/sign-in/return?ticket={ticket}"),
    }))
}

/// The challenge of an operator who is to log in first.
pub(super) fn asked(query: &Form) -> Option<String> {
    let challenge = query.get("challenge");
    let is_asked = query.get("for") == "operator" && is_challenge(challenge);
    is_asked.then(|| challenge.to_owned())
}

/// The query that [`asked`] reads.
pub(super) fn asking(challenge: &str) -> String {
    format!("for=operator&challenge={challenge}")
}

/// Where an operator goes on who has logged in.
pub(super) fn page_of(challenge: &str) -> String {
    format!("/auth/operator?challenge={challenge}")
}
