//! Whether somebody who logged in is let in (F25), and what follows.

use axum::response::Response;
use std::time::Duration;
use tracing::{info, warn};
use turnpike_api::Secret;
use turnpike_audit::events::{self as audit, Who};
use turnpike_config::plan::LoginModePlan;
use turnpike_identity::sso::authorization::{Denied, Granted};
use turnpike_identity::sso::confirmation::Waiting;
use turnpike_identity::sso::renewal::Renewal;
use turnpike_identity::sso::session::{self, Login};
use turnpike_identity::sso::{Errand, Pending, Person, Session};

use super::desk::Desk;
use super::page::see_other;
use super::problem::Problem;
use super::whose::{assigned, not_here, whose};
use super::{cookies, device, operator};
use crate::audit::person as person_of;
use crate::authorization;
use crate::sso::Sso;
use crate::tenant::{NOT_HERE, Whose};

/// What somebody is told to whom no role is bound.
const NO_ROLE: &str = "No role is bound to you: ask your platform team for one";

/// Asks for a confirmation code, or the authorization API, as configured.
pub(super) async fn authorize(
    desk: &Desk,
    person: Person,
    refresh: Option<Secret>,
    pending: Pending,
    browser: &str,
) -> Result<Response, Problem> {
    let provider = &pending.provider;
    let (person, whose) = whose(desk, person, provider)?;
    let said = match said(desk, desk.sso_of(&person), &person, provider).await {
        Ok(said) => said,
        Err(denied) => return Err(refuse(desk, &person, provider, denied).await),
    };
    let named = match &said {
        Said::Granted(granted) => granted.tenant.as_deref(),
        Said::ToConfirm(_) => None,
    };
    let person = assigned(desk, person, whose, named, provider)?;
    // Who has been assigned to a tenant is let in as that says, too.
    let said = match said {
        Said::Granted(granted) if granted.tenant.is_some() && whose != Whose::Known => {
            match of_assigned(desk, &person, provider, granted).await {
                Ok(said) => said,
                Err(denied) => return Err(refuse(desk, &person, provider, denied).await),
            }
        }
        said => said,
    };
    let keyring = &desk.sso.keyring;
    let sealed = refresh.map(|token| keyring.seal(token.expose().as_bytes(), &person.key()));
    let sealed = sealed.transpose()?;
    let own = desk.tenant.has_own_providers.then(|| desk.tenant.name());
    let mut login = Login {
        person,
        provider: pending.provider,
        provider_of: own.flatten().map(str::to_owned),
        roles: Vec::new(),
    };
    match said {
        Said::ToConfirm(expiry) => {
            let waits = (login, pending.errand, sealed);
            have_confirmed(desk, waits, browser, expiry).await
        }
        Said::Granted(granted) => {
            login.roles = granted.roles;
            let_in(desk, &login, sealed, &pending.errand, browser).await
        }
    }
}

/// What is said of a login.
enum Said {
    /// The code in the log has to be typed.
    ToConfirm(Duration),
    Granted(Granted),
}

/// What the tenant itself says of somebody who was assigned to it, where it has a say of its own.
async fn of_assigned(
    desk: &Desk,
    person: &Person,
    provider: &str,
    granted: Granted,
) -> Result<Said, Denied> {
    let sso = desk.sso_of(person);
    if sso.mode == desk.sso.mode {
        return Ok(Said::Granted(granted));
    }
    match said(desk, sso, person, provider).await? {
        Said::Granted(other) if other.tenant.is_some() && other.tenant != person.tenant => {
            Err(Denied::Refused(NOT_HERE.into()))
        }
        said => Ok(said),
    }
}

/// What there is to say of a login by such rules.
async fn said(desk: &Desk, sso: &Sso, person: &Person, provider: &str) -> Result<Said, Denied> {
    match &sso.mode {
        LoginModePlan::SingleUser { expiry, .. } => Ok(Said::ToConfirm(*expiry)),
        LoginModePlan::Enterprise { api: None, .. } => match has_a_role(desk, person) {
            true => Ok(Said::Granted(Granted::default())),
            false => Err(Denied::Refused(NO_ROLE.into())),
        },
        LoginModePlan::Enterprise {
            api: Some(api),
            timeout,
        } => {
            // Redirects are not followed, and it is asked once.
            let asked = (person, provider, desk.client.to_string());
            let granted = sso.ask(asked, api, *timeout, desk.now).await;
            granted.map(Said::Granted)
        }
    }
}

/// Whether a role is bound to somebody, where there are roles: without an authorization API nothing
/// else says who is let in.
fn has_a_role(desk: &Desk, person: &Person) -> bool {
    let attributes = person.owner().attributes();
    let roles = desk.tenant_of(person).roles.as_ref();
    roles.is_none_or(|roles| !roles.of(&attributes).roles.is_empty())
}

/// Begins the session.
pub(super) async fn let_in(
    desk: &Desk,
    login: &Login,
    sealed: Option<String>,
    errand: &Errand,
    browser: &str,
) -> Result<Response, Problem> {
    if !desk.is_here(&login.person) {
        return Err(not_here(desk, &login.person, &login.provider));
    }
    let store = desk.store();
    let link = errand.link.as_deref();
    let link = match link.and_then(|token| desk.sso.links.read(token, desk.now)) {
        Some(link) if link.spend(store, desk.now).await? => Some(link),
        // Used before, it is as good as none: who logs in may log in without.
        _ => None,
    };
    let roles = desk.tenant_of(&login.person).roles.as_deref();
    authorization::tell_unknown_roles(&login.roles, roles, login.person.shown());
    let lifetime = desk.sso_of(&login.person).lifetime;
    let session = session::sign_in(store, login, lifetime, desk.now).await?;
    keep_renewal(desk, &session, sealed).await?;
    let tokens = session::tokens(store, &session).await?;
    for token in &tokens {
        // Others hear of it by the store's news; here it counts at once.
        desk.runtime.agent_tokens.read_one(&token.id, store).await?;
    }
    desk.clear_count(browser).await?;
    desk.told(audit::Login {
        outcome: "granted",
        provider: Some(&login.provider),
        who: Who {
            tenant: login.person.tenant.as_deref(),
            ..person_of(&login.person)
        },
        client: Some(desk.client),
        reason: None,
        untold: None,
    });
    info!(
        person = login.person.shown(),
        provider = login.provider,
        tenant = login.person.tenant,
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
    waits: (Login, Errand, Option<String>),
    browser: &str,
    expiry: Duration,
) -> Result<Response, Problem> {
    let login = &waits.0;
    let (shown, provider) = (login.person.shown().to_owned(), login.provider.clone());
    let (seals, store) = (&desk.sso.seals, desk.store());
    let code = Waiting::begin(waits, browser, expiry, seals, store, desk.now).await;
    let failed = |error| Problem::of_login(error, &provider, &desk.site.redirect_uri);
    let code = code.map_err(failed)?;
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
    let lead = desk.sso_of(&session.person).renewal_lead;
    let sealed = sealed.filter(|_| lead.is_some());
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

/// Says no. Where the API itself said so, or no role is bound any more, a session that lasts from before ends, too.
async fn refuse(desk: &Desk, person: &Person, provider: &str, denied: Denied) -> Problem {
    let reason = denied.text();
    desk.told(audit::Login {
        outcome: "denied",
        provider: Some(provider),
        who: person_of(person),
        client: Some(desk.client),
        reason: Some(reason),
        untold: None,
    });
    warn!(person = person.shown(), provider, client = %desk.client, reason, "login denied");
    if let Denied::Refused(reason) = &denied
        && let Err(problem) = end_sessions(desk, person, reason).await
    {
        return problem;
    }
    Problem::denied(reason)
}

/// Ends what a person has from before. Of whom the authorization API said before that they are of
/// some tenant, it is theirs of that tenant, too, where that goes by the same API. That one tenant has
/// no role for them says nothing of another.
async fn end_sessions(desk: &Desk, person: &Person, reason: &str) -> Result<(), Problem> {
    desk.runtime.sign_out(&person.key()).await?;
    let is_of_one = [NO_ROLE, NOT_HERE].contains(&reason);
    if is_of_one || desk.tenant.has_own_providers || desk.snapshot.tenants.by_name.is_empty() {
        return Ok(());
    }
    let asked = &desk.sso_of(person).mode;
    for (key, session) in session::all(desk.store()).await? {
        let other = &session.person;
        let is_theirs = (&other.issuer, &other.subject) == (&person.issuer, &person.subject);
        let is_asked = || desk.sso_of(other).mode == *asked;
        if is_theirs && session.provider_of.is_none() && is_asked() {
            desk.runtime.sign_out(&key).await?;
        }
    }
    Ok(())
}
