//! Where a person answers a device that asks for a token of theirs (F28).

use axum::extract::RawQuery;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tracing::info;
use turnpike_identity::agent_tokens;
use turnpike_identity::sso::device::{self, Answer, Approved, DeviceLogin, UserCode};
use turnpike_identity::sso::{Session, session};

use super::desk::Desk;
use super::form::{Form, put_back};
use super::page::see_other;
use super::pages::{self, DeviceConfirmPage, DeviceDonePage, DevicePage, When};
use super::problem::Problem;
use crate::audit::person as person_of;
use crate::upstream::roll::time;

/// `GET /auth/device`: which device, and is it yours?
pub(super) async fn ask(desk: Desk, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let query = Form::read(query.unwrap_or_default().as_bytes());
    let typed = query.get("user_code");
    let Some(session) = desk.session().await? else {
        return Ok(see_other(&sign_in(typed)));
    };
    match typed {
        "" => Ok(enter(&desk, typed, None)),
        typed => show(&desk, &session, typed).await,
    }
}

/// `POST /auth/device`: a code that was typed, or what the person says to a device.
pub(super) async fn told(desk: Desk, form: Form) -> Result<Response, Problem> {
    let typed = form.get("user_code");
    if !desk.as_json && desk.session().await?.is_none() {
        // A link, for browsers do not follow a form to another site. What was typed is not lost.
        return Err(Problem::new(401, "session_over", "Your session is over")
            .with("Sign in again; the code is kept.")
            .towards("Sign in", &sign_in(typed)));
    }
    if !desk.as_json && !desk.is_ours(&form) {
        let wrong =
            "This page was open while you signed in or out elsewhere. Look at the code again.";
        let mut response = enter(&desk, put_back(typed), Some(wrong));
        *response.status_mut() = StatusCode::FORBIDDEN;
        return Ok(response);
    }
    let session = desk.signed_in(&form).await?;
    match form.get("decision") {
        "" => show(&desk, &session, typed).await,
        "allow" => allow(&desk, &session, typed, form.get("name")).await,
        "deny" => deny(&desk, &session, typed).await,
        _ => Err(
            Problem::new(400, "invalid_decision", "Allow it or refuse it")
                .with("`decision` is `allow` or `deny`."),
        ),
    }
}

/// Whether a login is begun for the sake of a device: its code, or nothing when that is still to be
/// typed. Only what a code looks like is carried along.
pub(super) fn asked(query: &Form) -> Option<String> {
    let code = || UserCode::read(query.get("user_code")).map(|code| code.shown());
    (query.get("for") == "device").then(|| code().unwrap_or_default())
}

/// The query that [`asked`] reads.
pub(super) fn asking(code: &str) -> String {
    match code {
        "" => "for=device".to_owned(),
        code => format!("for=device&user_code={code}"),
    }
}

/// The page that asks about the device with this code.
pub(super) fn page_of(code: &str) -> String {
    match code {
        "" => "/auth/device".to_owned(),
        code => format!("/auth/device?user_code={code}"),
    }
}

/// Where somebody signs in who was about to answer a device.
fn sign_in(typed: &str) -> String {
    let code = UserCode::read(typed).map(|code| code.shown());
    format!("/auth/login?{}", asking(&code.unwrap_or_default()))
}

async fn show(desk: &Desk, session: &Session, typed: &str) -> Result<Response, Problem> {
    let Some((code, login)) = find(desk, session, typed).await? else {
        return no_such(desk, typed);
    };
    let asking = &login.asking;
    if desk.as_json {
        return Ok(axum::Json(json!({
            "user_code": code.shown(),
            "client_id": asking.client_id,
            "agent": asking.agent,
            "address": asking.address,
            "asked_at": time(login.created_at),
            "expires_at": time(login.expires_at),
        }))
        .into_response());
    }
    let name = asking.agent.as_ref().unwrap_or(&asking.client_id);
    Ok(confirm(desk, session, (&code, &login), name, None))
}

/// A yes: the device gets a token when it asks next.
async fn allow(
    desk: &Desk,
    session: &Session,
    typed: &str,
    name: &str,
) -> Result<Response, Problem> {
    let Some((code, login)) = find(desk, session, typed).await? else {
        return no_such(desk, typed);
    };
    let Ok(named) = agent_tokens::name(name) else {
        let wrong = "A name has 1 to 100 printable characters.";
        if desk.as_json {
            return Err(Problem::new(400, "invalid_name", wrong));
        }
        let mut response = confirm(desk, session, (&code, &login), put_back(name), Some(wrong));
        *response.status_mut() = StatusCode::BAD_REQUEST;
        return Ok(response);
    };
    // Said here, where it is read, and not to the device.
    session::has_room(desk.store(), session, desk.now).await?;
    let answer = Answer::Yes(Approved::by(session, named));
    if !answered(desk, &code, &answer).await? {
        return no_such(desk, typed);
    }
    info!(
        person = session.person.shown(),
        client = %desk.client,
        device = login.asking.address,
        client_id = login.asking.client_id,
        name = named,
        "device allowed"
    );
    if desk.as_json {
        return Ok(axum::Json(json!({"allowed": true, "name": named})).into_response());
    }
    Ok(pages::html(&DeviceDonePage { name: Some(named) }))
}

async fn deny(desk: &Desk, session: &Session, typed: &str) -> Result<Response, Problem> {
    let Some((code, login)) = find(desk, session, typed).await? else {
        return no_such(desk, typed);
    };
    if !answered(desk, &code, &Answer::No).await? {
        return no_such(desk, typed);
    }
    info!(
        person = session.person.shown(),
        client = %desk.client,
        device = login.asking.address,
        client_id = login.asking.client_id,
        "device refused"
    );
    if desk.as_json {
        return Ok(axum::Json(json!({"allowed": false})).into_response());
    }
    Ok(pages::html(&DeviceDonePage { name: None }))
}

/// The login that waits under what was typed. A code is short, so guesses are counted.
async fn find(
    desk: &Desk,
    session: &Session,
    typed: &str,
) -> Result<Option<(UserCode, DeviceLogin)>, Problem> {
    let Some(code) = UserCode::read(typed) else {
        return Ok(None);
    };
    let person = &session.person;
    desk.count_guess(person)
        .await
        .map_err(|problem| problem.towards("Try again", &page_of(&code.shown())))?;
    let found = device::look(&code, &desk.sso.seals, desk.store(), desk.now).await?;
    // What asks at a tenant's host is none of others' business.
    let of = person.tenant.as_ref();
    let is_theirs = |login: &DeviceLogin| {
        let asked_at = login.asking.tenant.as_ref();
        asked_at.is_none() || asked_at == of
    };
    let found = found.filter(is_theirs);
    match found {
        Some(_) => desk.forgive_guess(person).await?,
        None => desk.refused(person_of(person), "unknown_user_code"),
    }
    Ok(found.map(|login| (code, login)))
}

async fn answered(desk: &Desk, code: &UserCode, answer: &Answer) -> Result<bool, Problem> {
    Ok(device::answer(code, answer, &desk.sso.seals, desk.store(), desk.now).await?)
}

/// The code can be typed again.
fn no_such(desk: &Desk, typed: &str) -> Result<Response, Problem> {
    let wrong = "No device is waiting with this code. Compare it with what the device shows; a code is good once, for 15 minutes.";
    if desk.as_json {
        return Err(Problem::new(400, "unknown_user_code", wrong));
    }
    // What is far too long to be a code is nobody's work that could be lost.
    let typed = if typed.chars().count() <= 40 {
        typed
    } else {
        ""
    };
    let mut response = enter(desk, typed, Some(wrong));
    *response.status_mut() = StatusCode::BAD_REQUEST;
    Ok(response)
}

fn enter(desk: &Desk, typed: &str, wrong: Option<&str>) -> Response {
    pages::html(&DevicePage {
        csrf: &desk.form_seal(),
        typed,
        wrong,
    })
}

fn confirm(
    desk: &Desk,
    session: &Session,
    (code, login): (&UserCode, &DeviceLogin),
    name: &str,
    wrong: Option<&str>,
) -> Response {
    pages::html(&DeviceConfirmPage {
        person: session.person.shown(),
        csrf: &desk.form_seal(),
        code: &code.shown(),
        client_id: &login.asking.client_id,
        address: &login.asking.address,
        is_elsewhere: login.asking.address != desk.client.to_string(),
        asked: &When::at(login.created_at),
        name,
        wrong,
    })
}
