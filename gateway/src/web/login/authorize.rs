//! Whether somebody who logged in is let in (F25), and what follows.

use axum::response::Response;
use std::time::Duration;
use tracing::{info, warn};
use turnpike_audit::events::{self as audit, Who};
use turnpike_config::plan::LoginModePlan;
use turnpike_identity::sso::authorization::{Denied, Granted};
use turnpike_identity::sso::confirmation::Waiting;
use turnpike_identity::sso::renewal::Renewal;
use turnpike_identity::sso::session::{self, Login};
use turnpike_identity::sso::{Errand, Pending, Person, Session};
use url::Url;

use super::desk::Desk;
use super::page::see_other;
use super::problem::Problem;
use super::{cookies, device, operator};
use crate::audit::person as person_of;

/// What somebody is told to whom no role is bound.
const NO_ROLE: &str = "No role is bound to you: ask your platform team for one";

/// Asks for a confirmation code, or the authorization API, as configured.
pub(super) async fn authorize(
    desk: &Desk,
    person: Person,
    sealed: Option<String>,
    pending: Pending,
    browser: &str,
) -> Result<Response, Problem> {
    let granted = match &desk.sso.mode {
        LoginModePlan::SingleUser { expiry, .. } => {
            return have_confirmed(desk, (person, sealed), pending, browser, *expiry).await;
        }
        LoginModePlan::Enterprise { api: None, .. } => match has_a_role(desk, &person) {
            true => Granted::default(),
            false => {
                let denied = Denied::Refused(NO_ROLE.into());
                return Err(refuse(desk, &person, &pending.provider, denied).await);
            }
        },
        LoginModePlan::Enterprise {
            api: Some(api),
            timeout,
        } => match ask(desk, &person, &pending.provider, api, *timeout).await {
            Ok(granted) => granted,
            Err(denied) => return Err(refuse(desk, &person, &pending.provider, denied).await),
        },
    };
    let login = Login {
        person,
        provider: pending.provider,
        roles: granted.roles,
        tenant: granted.tenant,
    };
    let_in(desk, &login, sealed, &pending.errand, browser).await
}

/// Whether a role is bound to somebody, where there are roles: without an authorization API nothing
/// else says who is let in.
fn has_a_role(desk: &Desk, person: &Person) -> bool {
    let snapshot = desk.runtime.snapshot();
    let attributes = person.owner().attributes();
    let roles = snapshot.roles.as_ref();
    roles.is_none_or(|roles| !roles.of(&attributes).roles.is_empty())
}

/// Tells of roles that the authorization API named and the configuration does not have.
fn tell_unknown_roles(desk: &Desk, login: &Login) {
    let snapshot = desk.runtime.snapshot();
    let Some(roles) = &snapshot.roles else { return };
    for role in login.roles.iter().filter(|role| !roles.has(role)) {
        let role: String = role.chars().take(80).collect();
        let person = login.person.shown();
        warn!(
            person,
            role, "the authorization API gave a role that is not configured"
        );
    }
}

/// Begins the session.
pub(super) async fn let_in(
    desk: &Desk,
    login: &Login,
    sealed: Option<String>,
    errand: &Errand,
    browser: &str,
) -> Result<Response, Problem> {
    let store = desk.store();
    let link = errand.link.as_deref();
    let link = match link.and_then(|token| desk.sso.links.read(token, desk.now)) {
        Some(link) if link.spend(store, desk.now).await? => Some(link),
        // Used before, it is as good as none: who logs in may log in without.
        _ => None,
    };
    tell_unknown_roles(desk, login);
    let session = session::sign_in(store, login, desk.sso.lifetime, desk.now).await?;
    keep_renewal(desk, &session, sealed).await?;
    let tokens = session::tokens(store, &session).await?;
    for token in &tokens {
        // Others hear of it by the store's news; here it counts at once.
        desk.runtime.agent_tokens.read_one(&token.id, store).await?;
    }
    desk.clear_count(browser).await?;
    desk.runtime.audit.tell(&audit::Login {
        outcome: "granted",
        provider: &login.provider,
        who: Who {
            tenant: login.tenant.as_deref(),
            ..person_of(&login.person)
        },
        client: Some(desk.client),
        reason: None,
    });
    info!(
        person = login.person.shown(),
        provider = login.provider,
        client = %desk.client,
        tokens = tokens.len(),
        "login"
    );
    let renews = link.and_then(|link| link.renews);
    let is_anothers = renews.is_some_and(|id| tokens.iter().all(|token| token.id != id));
    let mut response = match (&errand.device, &errand.operator) {
        (Some(code), _) => see_other(&device::page_of(code)),
        (None, Some(challenge)) => see_other(&operator::page_of(challenge)),
        (None, None) if is_anothers => see_other("/auth/success?link=other"),
        (None, None) => see_other("/auth/success"),
    };
    let lasts = session.expires_at.saturating_sub(desk.now) / 1000;
    let (value, lasts) = (
        session.cookie(&desk.sso.seals),
        lasts.try_into().unwrap_or(i64::MAX),
    );
    cookies::set(
        &mut response,
        cookies::SESSION,
        &value,
        lasts,
        desk.sso.is_secure,
    );
    Ok(response)
}

async fn have_confirmed(
    desk: &Desk,
    (person, sealed): (Person, Option<String>),
    pending: Pending,
    browser: &str,
    expiry: Duration,
) -> Result<Response, Problem> {
    let (shown, provider) = (person.shown().to_owned(), pending.provider.clone());
    let login = (person, pending.provider, pending.errand, sealed);
    let (seals, store) = (&desk.sso.seals, desk.store());
    let code = Waiting::begin(login, browser, expiry, seals, store, desk.now).await;
    let code = code.map_err(|error| Problem::of_login(error, &provider, &desk.sso.redirect_uri))?;
    warn!(
        person = shown,
        provider,
        client = %desk.client,
        minutes = expiry.as_secs() / 60,
        "Confirmation Code: {code}"
    );
    Ok(see_other("/auth/confirm"))
}

/// Keeps what the session can be renewed with, where sessions are renewed.
async fn keep_renewal(
    desk: &Desk,
    session: &Session,
    sealed: Option<String>,
) -> Result<(), Problem> {
    let sealed = sealed.filter(|_| desk.sso.renewal_lead.is_some());
    let Some(sealed) = sealed else {
        return Ok(Renewal::forget(desk.store(), &session.person.key()).await?);
    };
    let renewal = Renewal {
        expires_at: session.expires_at,
        client: desk.client.to_string(),
        sealed,
    };
    Ok(renewal.keep(session, desk.store(), desk.now).await?)
}

/// Asks the authorization API. Redirects are not followed, and it is asked once.
async fn ask(
    desk: &Desk,
    person: &Person,
    provider: &str,
    api: &Url,
    patience: Duration,
) -> Result<Granted, Denied> {
    let client = desk.client.to_string();
    let asked = (person, provider, client);
    desk.sso.ask(asked, api, patience, desk.now).await
}

/// Says no. Where the API itself said so, or no role is bound any more, a session that lasts from before ends, too.
async fn refuse(desk: &Desk, person: &Person, provider: &str, denied: Denied) -> Problem {
    let reason = match &denied {
        Denied::Refused(reason) => reason.as_str(),
        Denied::Broken(text) => text,
    };
    desk.runtime.audit.tell(&audit::Login {
        outcome: "denied",
        provider,
        who: person_of(person),
        client: Some(desk.client),
        reason: Some(reason),
    });
    warn!(person = person.shown(), provider, client = %desk.client, reason, "login denied");
    if matches!(denied, Denied::Refused(_))
        && let Err(error) = desk.runtime.sign_out(&person.key()).await
    {
        return error.into();
    }
    Problem::denied(reason)
}
