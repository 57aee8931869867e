//! Renewing sessions before they end, where the provider granted what that takes (F26).

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use tracing::{info, warn};
use turnpike_api::{Clock, Directory, Secret, StoreError};
use turnpike_audit::events as audit;
use turnpike_config::plan::LoginModePlan;
use turnpike_identity::sso::authorization::{Denied, Granted};
use turnpike_identity::sso::renewal::{self, Renewal};
use turnpike_identity::sso::session::{self, Login, SessionError};
use turnpike_identity::sso::{LoginError, Person, Session};

use crate::audit::person;
use crate::clock::millis;
use crate::observe::events::{SessionRenewed, StoreFailed};
use crate::runtime::Runtime;
use crate::snapshot::Snapshot;
use crate::sso::Sso;
use crate::tenant::{Tenant, Tenants};

const EVERY: Duration = Duration::from_secs(30);

/// So many sessions are renewed at a time.
const AT_ONCE: usize = 16;

/// One replica renews a session; the others leave it alone for so long.
const CLAIMED: Duration = Duration::from_secs(120);

/// What a renewal came to.
enum Asked {
    /// The person is still let in, as whom they are known now. The token of the next renewal is kept
    /// already, for as long as the session lasts.
    Yes(Box<Login>, Renewal),
    /// The person is not to be let in any more; this was what the session is renewed with.
    No(String, Renewal),
    /// Nobody could say; it is tried again until the session ends.
    Unknown(String),
}

/// By whom a session is renewed.
struct Way<'s> {
    tenants: &'s Tenants,
    tenant: &'s Arc<Tenant>,
    /// As its tenant's people log in.
    sso: &'s Sso,
    /// Who has the provider: its tenant, or the house.
    by: &'s Sso,
    is_own: bool,
}

impl<'s> Way<'s> {
    /// `None` = nobody has the provider any more, or the tenant has providers of its own by now, and then
    /// lets in by nobody else's. A refresh token is shown to nobody else.
    fn of(session: &Session, tenant: &'s Arc<Tenant>, tenants: &'s Tenants) -> Option<Self> {
        let by = match &session.provider_of {
            None if tenant.has_own_providers => return None,
            None => &tenants.house,
            Some(name) if tenant.has_own_providers && tenant.name() == Some(name) => tenant,
            Some(_) => return None,
        };
        let sso = tenant.sso.as_deref().or(by.sso.as_deref())?;
        Some(Self {
            tenants,
            tenant,
            sso,
            by: by.sso.as_deref()?,
            is_own: session.provider_of.is_some(),
        })
    }

    /// Whether nothing says that somebody is another tenant's by now.
    fn is_still_of(&self, person: &Person, granted: &Granted) -> bool {
        let own = self.tenant.name();
        if granted.tenant.is_some() && granted.tenant.as_deref() != own {
            return false;
        }
        let attributes = person.owner().attributes();
        let by_address = self.tenants.by_address(&attributes);
        self.is_own || by_address.is_none_or(|of| of.name() == own)
    }
}

/// Looks, until the process ends.
pub async fn renew(runtime: Arc<Runtime>) {
    loop {
        let time = &runtime.board.time;
        time.sleep_until(time.now() + millis(EVERY)).await;
        // The same for all of them, where anybody logs in.
        let snapshot = runtime.snapshot();
        let mut logins = snapshot.tenants.all().filter_map(|one| one.sso.as_ref());
        let Some(lead) = logins.find_map(|sso| sso.renewal_lead) else {
            continue;
        };
        match renew_due(&runtime, &snapshot, lead).await {
            Ok(()) => {}
            Err(SessionError::Store(error)) => StoreFailed {
                what: "session_renewal",
                error: &error,
                metrics: &runtime.metrics,
            }
            .tell(),
            Err(error) => warn!(%error, "sessions are not renewed"),
        }
    }
}

/// Several at once: a provider that does not answer must not keep the others' sessions waiting.
async fn renew_due(
    runtime: &Runtime,
    snapshot: &Snapshot,
    lead: Duration,
) -> Result<(), SessionError> {
    let due = due(&*runtime.store, lead, runtime.board.time.now()).await?;
    let renewing = due
        .into_iter()
        .map(|key| renew_claimed(runtime, snapshot, lead, key));
    let renewing = stream::iter(renewing).buffer_unordered(AT_ONCE);
    let renewed: Vec<_> = renewing.collect().await;
    renewed.into_iter().collect()
}

async fn renew_claimed(
    runtime: &Runtime,
    snapshot: &Snapshot,
    lead: Duration,
    key: String,
) -> Result<(), SessionError> {
    let directory: &dyn Directory = &*runtime.store;
    let name = format!("session {key}");
    if !directory.claim(&name, runtime.name(), CLAIMED).await? {
        return Ok(());
    }
    // Another replica may have renewed it before it was ours.
    let now = runtime.board.time.now();
    let renewed = match Renewal::of(directory, &key).await? {
        Some(renewal) if renewal.is_due(lead, now) => {
            renew_one(runtime, snapshot, &key, &renewal).await
        }
        _ => Ok(()),
    };
    directory.release(&name, runtime.name()).await?;
    renewed
}

/// The keys of the sessions that are to be renewed now.
async fn due(
    directory: &dyn Directory,
    lead: Duration,
    now: u64,
) -> Result<Vec<String>, StoreError> {
    let all = directory.list(renewal::KIND).await?.into_iter();
    let due = all.filter(|(_, record)| {
        let renewal = serde_json::from_slice::<Renewal>(&record.value);
        renewal.is_ok_and(|renewal| renewal.is_due(lead, now))
    });
    Ok(due.map(|(key, _)| key).collect())
}

async fn renew_one(
    runtime: &Runtime,
    snapshot: &Snapshot,
    key: &str,
    renewal: &Renewal,
) -> Result<(), SessionError> {
    let (store, now) = (&*runtime.store, runtime.board.time.now());
    let Some((session, _)) = session::find(store, key).await? else {
        return Ok(Renewal::forget(store, key).await?);
    };
    let person = session.person.shown();
    let tenant = snapshot.tenants.find(session.person.tenant.as_deref());
    let way = tenant.and_then(|tenant| Way::of(&session, tenant, &snapshot.tenants));
    let Some(way) = way else {
        // Nobody can ask any more: it ends at its time.
        return Ok(());
    };
    match ask(runtime, &way, key, &session, renewal).await {
        Asked::Yes(login, kept) => {
            let extended = session::extend(store, &session, &login, way.sso.lifetime, now);
            let Some(session) = extended.await? else {
                return Ok(());
            };
            let renewal = Renewal {
                expires_at: session.expires_at,
                ..kept.clone()
            };
            renewal.replace(&kept, key, store, now).await?;
            told(runtime, &session, "renewed", None);
            info!(person, provider = session.provider, "session renewed");
        }
        // They have logged in anew meanwhile, and were let in.
        Asked::No(_, kept) if Renewal::of(store, key).await?.as_ref() != Some(&kept) => {
            return Ok(());
        }
        Asked::No(why, _) => {
            told(runtime, &session, "ended", Some(&why));
            warn!(
                person,
                provider = session.provider,
                why,
                "session ended by its provider"
            );
            session::sign_out(store, key, now).await?;
        }
        Asked::Unknown(why) => {
            told(runtime, &session, "not_renewed", Some(&why));
            warn!(
                person,
                provider = session.provider,
                why,
                "session not renewed"
            );
            return Ok(());
        }
    }
    for token in session::tokens(store, &session).await? {
        runtime.agent_tokens.read_one(&token.id, store).await?;
    }
    Ok(())
}

/// What became of a renewal is on record.
fn told(runtime: &Runtime, session: &Session, outcome: &str, reason: Option<&str>) {
    SessionRenewed {
        session: audit::Session {
            outcome,
            who: person(&session.person),
            provider: &session.provider,
            reason,
        },
        metrics: &runtime.metrics,
        audit: &runtime.audit,
    }
    .tell();
}

/// The refresh token of this session.
fn opened(sso: &Sso, renewal: &Renewal, key: &str) -> Result<Secret, String> {
    let token = sso.keyring.open(&renewal.sealed, key);
    let token = token.map_err(|error| format!("its refresh token {error}"))?;
    let text = std::str::from_utf8(&token).map_err(|error| error.to_string())?;
    Ok(Secret::new(text))
}

/// Asks the provider, and the authorization API as at a login.
async fn ask(
    runtime: &Runtime,
    way: &Way<'_>,
    key: &str,
    session: &Session,
    renewal: &Renewal,
) -> Asked {
    let asked = async {
        let (person, kept) = ask_provider(runtime, way, key, session, renewal).await?;
        let granted = ask_api(runtime, way, &person, session, &kept).await?;
        if !way.is_still_of(&person, &granted) {
            return Err(Asked::No("they are of another tenant by now".into(), kept));
        }
        let login = Login {
            person,
            provider: session.provider.clone(),
            provider_of: session.provider_of.clone(),
            roles: granted.roles,
        };
        Ok(Asked::Yes(Box::new(login), kept))
    };
    asked.await.unwrap_or_else(|why| why)
}

/// Who the person is by now, and what the session is renewed with the next time, which is kept.
async fn ask_provider(
    runtime: &Runtime,
    Way { sso, by, .. }: &Way<'_>,
    key: &str,
    session: &Session,
    renewal: &Renewal,
) -> Result<(Person, Renewal), Asked> {
    let unknown = |error: &dyn Display| Asked::Unknown(error.to_string());
    let provider = by
        .provider(&session.provider)
        .ok_or_else(|| unknown(&"the provider is not configured any more"))?;
    let token = opened(sso, renewal, key).map_err(Asked::Unknown)?;
    let time = &runtime.board.time;
    let clock = Arc::new(time.clone());
    let renewed = provider
        .renewed(&session.person, &token, &*sso.outside, clock)
        .await
        .map_err(|error| match error {
            LoginError::Withdrawn => Asked::No(error.to_string(), renewal.clone()),
            error => unknown(&error),
        })?;
    // Not all of them give another one each time. Where they do, they take the old one no more:
    // before anything else that may fail, the new one is kept.
    let token = renewed.refresh.unwrap_or(token);
    let sealed = sso.keyring.seal(token.expose().as_bytes(), key);
    let kept = Renewal {
        sealed: sealed.map_err(|error| unknown(&error))?,
        ..renewal.clone()
    };
    let replaced = kept.replace(renewal, key, &*runtime.store, time.now());
    if !replaced.await.map_err(|error| unknown(&error))? {
        return Err(unknown(&"the person has logged in anew, or out"));
    }
    let person = renewed.person.map_err(|error| unknown(&error))?;
    Ok((person, kept))
}

/// Whether the person is still to be let in, where somebody else is asked.
async fn ask_api(
    runtime: &Runtime,
    Way { sso, .. }: &Way<'_>,
    person: &Person,
    session: &Session,
    kept: &Renewal,
) -> Result<Granted, Asked> {
    let LoginModePlan::Enterprise {
        api: Some(api),
        timeout,
    } = &sso.mode
    else {
        return Ok(Granted::default());
    };
    let asked = (person, &*session.provider, kept.client.clone());
    let answer = sso.ask(asked, api, *timeout, runtime.board.time.now());
    answer.await.map_err(|denied| match denied {
        Denied::Refused(reason) => Asked::No(reason, kept.clone()),
        Denied::Broken(why) => Asked::Unknown(why.into()),
    })
}
