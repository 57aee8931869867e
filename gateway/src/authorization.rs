//! The authorization API (F25): asked about each login and each renewal of a session, and about callers
//! who have neither. Of these a signed token is the login: they are asked about when they first call, and
//! what was said of them is kept.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use http::Request;
use http::header::CONTENT_TYPE;
use quick_cache::sync::{Cache, EntryAction, EntryResult};
use tokio::time::timeout;
use tracing::warn;
use turnpike_access::RoleTable;
use turnpike_api::{Clock, Identity};
use turnpike_config::plan::RemotePlan;
use turnpike_identity::sso::Outside;
use turnpike_identity::sso::authorization::{
    Denied, ERROR, Granted, Question, TIMEOUT, UNREACHABLE, excerpt, judge,
};
use url::Url;

use crate::assemble::Ground;
use crate::clock::{Time, millis};
use crate::sso::WayOut;
use crate::tenant::{Tenants, ToAsk};
use crate::upstream::roll::time;

/// Of as many callers is known what was said. It is as many as are known by their tokens.
const CALLERS: usize = 32_768;

/// A no is good for so long: whoever calls on is not asked about at each call, and whoever is let in by
/// now need not wait.
const NO: Duration = Duration::from_secs(60);

/// So long nobody is asked about again of whom nothing could be learnt: while the API is away, calls do
/// not wait for it one after the other, and when it is back, they are served at once.
const NOTHING: Duration = Duration::from_secs(3);

/// The API that is asked about callers with signed tokens, as one configuration has it.
pub struct AuthorizationApi {
    plan: RemotePlan,
    outside: Arc<WayOut>,
    answers: Arc<Answers>,
    time: Time,
}

/// What it said of callers.
struct Answers(Cache<Caller, Arc<Kept>>);

/// Everything that the question says of a person. Tokens come and go, some with every job of a build, so it
/// is not asked about each. An address may be what it decides by: with another one it is asked anew.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Caller {
    issuer: Box<str>,
    subject: Box<str>,
    email: Option<Box<str>>,
}

/// What it said of one.
pub struct Kept {
    pub said: Result<Granted, Denied>,
    /// When, in milliseconds since 1970.
    at: u64,
    /// Good until then, likewise.
    pub until: u64,
}

/// What each API said, for as long as some configuration asks it. Another API, or another lifetime of
/// sessions, begins with nothing.
#[derive(Default)]
pub struct AllAnswers(Mutex<HashMap<(Url, Duration), Weak<Answers>>>);

impl AuthorizationApi {
    /// What it said before is known, where that counts still.
    pub fn new(plan: &RemotePlan, outside: &Arc<WayOut>, ground: &Ground) -> Self {
        Self {
            plan: plan.clone(),
            outside: outside.clone(),
            answers: ground.answers.of(plan),
            time: ground.board.time.clone(),
        }
    }

    /// Whether what one says is what the other does, for as long.
    pub fn is(&self, other: &Self) -> bool {
        (&self.plan.api, self.plan.lifetime) == (&other.plan.api, other.plan.lifetime)
    }

    pub fn now(&self) -> u64 {
        self.time.now()
    }

    /// What it says of a caller. Of all who ask for the same one at a time, one asks it.
    pub async fn says_of(&self, ask: &ToAsk<'_>, client: IpAddr, tenants: &Tenants) -> Arc<Kept> {
        let of = &ask.identity;
        let (caller, now) = (Caller::of(of), self.now());
        let answers = &self.answers.0;
        let entry = answers.entry_async(&caller, |_, kept| match kept.counts(ask, tenants, now) {
            true => EntryAction::Retain(kept.clone()),
            false => EntryAction::ReplaceWithGuard,
        });
        let place = match entry.await {
            EntryResult::Retained(kept) => return kept,
            EntryResult::Vacant(place) | EntryResult::Replaced(place, _) => Some(place),
            // Nothing is taken out, and nobody gives up waiting.
            EntryResult::Removed(..) | EntryResult::Timeout => None,
        };
        let said = self.ask(&caller, client).await;
        let granted = said.as_ref().ok();
        let named = granted.and_then(|granted| granted.tenant.as_deref());
        tell_unknown_tenant(named, tenants, &of.name);
        let (at, until) = (self.now(), self.good_until(&said, of));
        let kept = Arc::new(Kept { said, at, until });
        if let Some(place) = place {
            // Should there be no room for it, it is asked again.
            let _ = place.insert(kept.clone());
        }
        kept
    }

    async fn ask(&self, caller: &Caller, client: IpAddr) -> Result<Granted, Denied> {
        let question = Question {
            user_email: caller.email.as_deref(),
            user_id: &caller.subject,
            client_ip: client.to_string(),
            provider: &caller.issuer,
            timestamp: time(self.now()),
        };
        let (api, patience) = (&self.plan.api, self.plan.timeout);
        let said = ask(&question, api, patience, &self.outside).await;
        if let Err(denied) = &said {
            let person = caller.email.as_ref().unwrap_or(&caller.subject);
            let (issuer, reason) = (&caller.issuer, denied.text());
            warn!(%person, %issuer, %client, reason, "signed token not let in");
        }
        said
    }

    fn good_until(&self, said: &Result<Granted, Denied>, of: &Identity) -> u64 {
        let now = self.now();
        let after = |time| now.saturating_add(millis(time));
        match said {
            Ok(_) => {
                let lasts = after(self.plan.lifetime);
                of.ends_at.map_or(lasts, |ends_at| ends_at.min(lasts))
            }
            Err(Denied::Refused(_)) => after(NO),
            Err(Denied::Broken(_)) => after(NOTHING),
        }
    }
}

impl Kept {
    /// Whether it is good still. With a tenant that does not fit it is good for as long as a no: whoever
    /// mends that, there or here, need not wait until the token ends.
    fn counts(&self, of: &ToAsk<'_>, tenants: &Tenants, now: u64) -> bool {
        let until = match &self.said {
            Ok(granted) if !tenants.fits(granted.tenant.as_deref(), of) => {
                self.until.min(self.at.saturating_add(millis(NO)))
            }
            Ok(_) | Err(_) => self.until,
        };
        now < until
    }
}

impl Caller {
    fn of(identity: &Identity) -> Self {
        let of = &identity.attributes;
        Self {
            issuer: of.issuer.clone().unwrap_or_default(),
            subject: of.subject.clone().unwrap_or_default(),
            email: of.email.clone(),
        }
    }
}

impl AllAnswers {
    fn of(&self, plan: &RemotePlan) -> Arc<Answers> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, answers| answers.strong_count() > 0);
        let key = (plan.api.clone(), plan.lifetime);
        if let Some(known) = all.get(&key).and_then(Weak::upgrade) {
            return known;
        }
        let answers = Arc::new(Answers(Cache::new(CALLERS)));
        all.insert(key, Arc::downgrade(&answers));
        answers
    }
}

/// Asks an API. Redirects are not followed, and it is asked once.
pub async fn ask(
    question: &Question<'_>,
    api: &Url,
    patience: Duration,
    outside: &WayOut,
) -> Result<Granted, Denied> {
    let body = serde_json::to_vec(question).map_err(|_| ERROR)?;
    let request = Request::post(api.as_str())
        .header(CONTENT_TYPE, "application/json")
        .body(body)
        .map_err(|_| ERROR)?;
    let answer = match timeout(patience, outside.call(request)).await {
        Err(_) => return Err(TIMEOUT),
        Ok(Err(error)) => {
            warn!(%error, "authorization API not reachable");
            return Err(UNREACHABLE);
        }
        Ok(Ok(answer)) => answer,
    };
    let (status, body) = (answer.status().as_u16(), answer.body());
    let judged = judge(status, body);
    if judged == Err(ERROR) {
        let body = excerpt(body);
        warn!(status, body, "authorization API error");
    }
    judged
}

/// Tells of a tenant that it named and the configuration does not have.
pub fn tell_unknown_tenant(named: Option<&str>, tenants: &Tenants, person: &str) {
    let unknown = named.filter(|name| !tenants.by_name.contains_key(*name));
    if let Some(name) = unknown {
        let tenant: String = name.chars().take(80).collect();
        warn!(
            person,
            tenant, "the authorization API gave a tenant that is not configured"
        );
    }
}

/// The same of roles.
pub fn tell_unknown_roles(named: &[String], roles: Option<&RoleTable>, person: &str) {
    let Some(roles) = roles else {
        return;
    };
    for role in named.iter().filter(|role| !roles.has(role)) {
        let role: String = role.chars().take(80).collect();
        warn!(
            person,
            role, "the authorization API gave a role that is not configured"
        );
    }
}
