//! The browser comes back from its provider.

use axum::extract::RawQuery;
use axum::response::Response;
use std::sync::Arc;
use turnpike_audit::events::Login;
use turnpike_identity::sso::{Identified, Pending, Returned};

use super::authorize;
use super::desk::Desk;
use super::form::Form;
use super::page::see_other;
use super::problem::Problem;

/// `GET /auth/callback`.
pub(super) async fn returned(desk: Desk, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let query = Form::read(query.unwrap_or_default().as_bytes());
    let mut provider = String::new();
    let identified = identified(&desk, &query, &mut provider).await;
    let (found, pending, browser) = identified.inspect_err(|problem| {
        // Who had begun none did not try to log in: anybody can ask for this page, as often as they like.
        if provider.is_empty() {
            return;
        }
        desk.told(Login {
            outcome: "failed",
            provider: Some(&provider),
            who: desk.somebody(),
            client: Some(desk.client),
            reason: Some(problem.id()),
            untold: None,
        });
    })?;
    let Identified { person, refresh } = found;
    authorize::authorize(&desk, person, refresh, pending, &browser).await
}

/// Who came back, and what they had begun; `of` becomes the provider they had chosen.
async fn identified(
    desk: &Desk,
    query: &Form,
    of: &mut String,
) -> Result<(Identified, Pending, String), Problem> {
    let (code, state) = (query.get("code"), query.get("state"));
    let pending = match (state, desk.browser()) {
        ("", _) | (_, None) => None,
        (state, Some(browser)) => {
            let taken = Pending::take(desk.store(), state, &browser).await;
            taken.map_err(|error| Problem::of_login(error, "", &desk.site.redirect_uri))?
        }
    };
    if let Some(pending) = &pending {
        of.clone_from(&pending.provider);
    }
    if !query.get("error").is_empty() {
        return Err(said(query, &desk.site.redirect_uri));
    }
    if code.is_empty() || state.is_empty() {
        return Err(
            Problem::new(400, "missing_parameters", "Missing parameters").with(
                "The identity provider sent you back without `code` and `state`. Begin again.",
            ),
        );
    }
    let (Some(pending), Some(browser)) = (pending, desk.browser()) else {
        return Err(Problem::session());
    };
    // It goes on where it began. The release before noted browsers without whose host it was.
    if pending.tenant.as_deref() != desk.tenant.name() {
        return Err(Problem::session());
    }
    let name = &pending.provider;
    let provider = desk.sso.provider(name);
    let provider = provider.ok_or_else(|| Problem::unknown_provider(name))?;
    let returned = Returned {
        code,
        state,
        issuer: Some(query.get("iss")).filter(|issuer| !issuer.is_empty()),
        redirect_uri: &desk.site.redirect_uri,
    };
    let (seals, outside) = (&desk.sso.seals, &*desk.sso.outside);
    let clock = Arc::new(desk.runtime.board.time.clone());
    let failed = |error| Problem::of_login(error, name, &desk.site.redirect_uri);
    let finished = provider.finish(returned, seals, outside, clock).await;
    let identified = finished.map_err(failed)?;
    Ok((identified, pending, browser))
}

/// `POST /auth/callback`: some providers have the browser send a form, to which it adds no cookies.
/// It is asked to come once more.
pub(super) async fn posted(form: Form) -> Response {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for name in ["code", "state", "iss", "error", "error_description"] {
        let value = form.get(name);
        if !value.is_empty() {
            query.append_pair(name, value);
        }
    }
    see_other(&format!("/auth/callback?{}", query.finish()))
}

/// What the provider says went wrong, in its words.
fn said(query: &Form, redirect_uri: &str) -> Problem {
    let plain =
        |text: &str| -> String { text.chars().filter(|c| !c.is_control()).take(200).collect() };
    let (error, description) = (
        plain(query.get("error")),
        plain(query.get("error_description")),
    );
    if error.contains("redirect_uri") || description.contains("redirect_uri") {
        return Problem::redirect_uri(redirect_uri);
    }
    let said = match description.as_str() {
        "" => error,
        description => format!("{error}: {description}"),
    };
    Problem::new(
        400,
        "provider_error",
        "The identity provider did not let you in",
    )
    .with(said)
}
