//! The confirmation code, which stands in the gateway's log.

use axum::http::StatusCode;
use axum::response::Response;
use tracing::warn;
use turnpike_audit::events::Login;
use turnpike_config::plan::LoginModePlan;
use turnpike_identity::sso::confirmation::{self, Typed, Waiting};

use super::authorize;
use super::desk::Desk;
use super::form::Form;
use super::pages::{self, ConfirmPage};
use super::problem::Problem;

/// `GET /auth/confirm`.
pub(super) async fn ask(desk: Desk) -> Result<Response, Problem> {
    let browser = desk.browser().ok_or_else(Problem::session)?;
    match Waiting::is_there(desk.store(), &browser).await? {
        true => Ok(page(&desk, None)),
        false => Err(Problem::session()),
    }
}

/// `POST /auth/confirm`.
pub(super) async fn typed(desk: Desk, form: Form) -> Result<Response, Problem> {
    let browser = match desk.check_browser(&form) {
        Ok(browser) => browser,
        Err(problem) => return stale(&desk, problem).await,
    };
    let whose = Waiting::whose(desk.store(), &browser).await?;
    let sso = whose.map_or(&desk.sso, |person| desk.sso_of(&person));
    let LoginModePlan::SingleUser { attempts, .. } = sso.mode else {
        // The configuration has changed since: another login goes by it.
        return Err(Problem::session());
    };
    let (code, seals, store) = (form.get("code"), &desk.sso.seals, desk.store());
    match confirmation::try_code(code, &browser, attempts, seals, store, desk.now).await? {
        Typed::Right(waiting) => {
            let (errand, sealed) = (waiting.errand.clone(), waiting.sealed.clone());
            let login = waiting.into_login();
            authorize::let_in(&desk, &login, sealed, &errand, &browser).await
        }
        Typed::Wrong(left) => {
            told(&desk, "incorrect_code");
            warn!(client = %desk.client, left, "wrong confirmation code");
            let text = format!("Incorrect code. {left} attempts remaining.");
            if desk.as_json {
                return Err(Problem::new(400, "incorrect_code", text));
            }
            let mut response = page(&desk, Some(&text));
            *response.status_mut() = StatusCode::BAD_REQUEST;
            Ok(response)
        }
        Typed::Expired => Err(
            Problem::new(400, "code_expired", "Confirmation code expired")
                .with("Sign in again to get another one."),
        ),
        Typed::Spent => {
            told(&desk, "attempts_exceeded");
            warn!(client = %desk.client, "too many wrong confirmation codes");
            Err(
                Problem::new(400, "attempts_exceeded", "Maximum attempts exceeded")
                    .with("Sign in again to get another code."),
            )
        }
        Typed::Nothing => Err(Problem::session()),
    }
}

/// That a wrong code was typed is on record.
fn told(desk: &Desk, reason: &str) {
    desk.told(Login {
        outcome: "failed",
        provider: None,
        who: desk.somebody(),
        client: Some(desk.client),
        reason: Some(reason),
        untold: None,
    });
}

/// A page of another login, in the same browser: the code can be typed once more.
async fn stale(desk: &Desk, problem: Problem) -> Result<Response, Problem> {
    let Some(browser) = desk.browser().filter(|_| !desk.as_json) else {
        return Err(problem);
    };
    if !Waiting::is_there(desk.store(), &browser).await? {
        return Err(problem);
    }
    let wrong = "This page was open while you began another login. Type the code once more.";
    let mut response = page(desk, Some(wrong));
    *response.status_mut() = StatusCode::FORBIDDEN;
    Ok(response)
}

fn page(desk: &Desk, wrong: Option<&str>) -> Response {
    pages::html(&ConfirmPage {
        csrf: &desk.browser_seal(),
        wrong,
    })
}
