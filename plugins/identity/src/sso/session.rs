//! Sessions: who is logged in, until when, and whose agent tokens live by that.
//!
//! There is one session a person, however many browsers they are signed in with: its record is
//! what logins, logouts and new tokens of that person agree by, each with a compare-and-swap.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use turnpike_api::{Directory, Expected, Store, StoreError};

use super::renewal::Renewal;
use super::{Purpose, Seals};
use crate::agent_tokens::{self, AgentTokenRecord, IssueError, Owner, TokenState};

/// The kind of record that holds a session; its key is [`Person::key`].
pub const KIND: &str = "session";

/// A person without tokens is forgotten so long after their session.
const FORGOTTEN: Duration = Duration::from_secs(24 * 60 * 60);

/// As many agent tokens a person may have made.
const MOST_TOKENS: usize = 100;

/// Who somebody is, as their provider says. The pair of issuer and subject is who they are: an
/// address can change hands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    pub issuer: String,
    pub subject: String,
    /// Verified, where the provider says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// The claims that roles are bound by, with their values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub claims: BTreeMap<String, Vec<String>>,
    /// Whose they are. Two tenants may know one person of one provider: to us these are two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
}

/// A person's session. Times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    #[serde(flatten)]
    pub person: Person,
    pub provider: String,
    /// The tenant whose own provider that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_of: Option<String>,
    /// When the person logged in last.
    pub created_at: u64,
    pub expires_at: u64,
    /// As the authorization API said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// Another one after each logout: cookies of before are worth nothing.
    epoch: String,
    /// The ids of the person's agent tokens; of those that are revoked, until the next login or
    /// logout.
    #[serde(default)]
    tokens: Vec<String>,
}

/// A login that was let in.
#[derive(Clone, Debug)]
pub struct Login {
    pub person: Person,
    pub provider: String,
    /// The tenant whose own provider that is.
    pub provider_of: Option<String>,
    pub roles: Vec<String>,
}

/// Why a person's session or token is not as they wanted.
#[derive(Debug, Error)]
pub enum SessionError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the system has no randomness: {0}")]
    Random(getrandom::Error),
    #[error(transparent)]
    Token(#[from] IssueError),
    #[error("the session is over")]
    Over,
    #[error("a person may have {MOST_TOKENS} agent tokens; revoke one first")]
    TooMany,
}

impl Person {
    /// What the session is kept under.
    pub fn key(&self) -> String {
        Self::key_of(self.tenant.as_deref(), &self.issuer, &self.subject)
    }

    /// The same, of whom only that is known.
    pub fn key_of(tenant: Option<&str>, issuer: &str, subject: &str) -> String {
        // The length keeps two pairs apart that are the same text.
        let pair = format!("{}:{issuer}{subject}", issuer.len());
        match tenant {
            None => super::digest(&pair),
            // No pair begins with a letter.
            Some(tenant) => super::digest(&format!("tenant {}:{tenant}{pair}", tenant.len())),
        }
    }

    /// As people know them.
    pub fn shown(&self) -> &str {
        self.email.as_deref().unwrap_or(&self.subject)
    }

    /// As owner of a token.
    pub fn owner(&self) -> Owner {
        Owner {
            issuer: self.issuer.clone(),
            subject: self.subject.clone(),
            email: self.email.clone(),
            groups: self.groups.clone(),
            team: self.team.clone(),
            claims: self.claims.clone(),
            roles: Vec::new(),
        }
    }
}

impl Session {
    /// The person as owner of their tokens.
    pub fn owner(&self) -> Owner {
        Owner {
            roles: self.roles.clone(),
            ..self.person.owner()
        }
    }

    pub fn is_live(&self, now: u64) -> bool {
        now < self.expires_at
    }

    /// The ids of the person's agent tokens; those that took the place of others are not among them.
    pub fn token_ids(&self) -> &[String] {
        &self.tokens
    }

    /// Tells it from the person's sessions before and after a logout.
    pub(super) fn epoch(&self) -> &str {
        &self.epoch
    }

    /// What the browser is given that has just logged in.
    pub fn cookie(&self, seals: &Seals) -> String {
        let mark = self.mark();
        let seal = seals.seal(Purpose::Cookie, &mark);
        format!("{mark}.{seal}")
    }

    /// Names it, and none of the person's sessions before or after. It lets nobody in.
    pub fn mark(&self) -> String {
        format!("{}.{}", self.person.key(), self.epoch)
    }

    /// The session with this mark, if it is live.
    pub async fn of_mark(
        mark: &str,
        store: &dyn Directory,
        now: u64,
    ) -> Result<Option<Self>, StoreError> {
        let Some((key, epoch)) = mark.split_once('.') else {
            return Ok(None);
        };
        let found = find(store, key).await?;
        let session = found.map(|(session, _)| session);
        Ok(session.filter(|session| session.is_live(now) && session.epoch == epoch))
    }

    /// The session of a browser, if it is live.
    pub async fn of_cookie(
        cookie: &str,
        seals: &Seals,
        store: &dyn Directory,
        now: u64,
    ) -> Result<Option<Self>, StoreError> {
        let Some((mark, seal)) = cookie.rsplit_once('.') else {
            return Ok(None);
        };
        match seals.is_sealed(Purpose::Cookie, mark, seal) {
            true => Self::of_mark(mark, store, now).await,
            false => Ok(None),
        }
    }
}

/// Begins a session, or lets it last longer, and with it the person's agent tokens.
pub async fn sign_in(
    store: &dyn Store,
    login: &Login,
    lifetime: Duration,
    now: u64,
) -> Result<Session, SessionError> {
    let key = login.person.key();
    let epoch = super::random().map_err(SessionError::Random)?;
    let session = loop {
        let found = find(store, &key).await?;
        let (before, expected) = match found {
            Some((session, version)) => (Some(session), Expected::Version(version)),
            None => (None, Expected::Absent),
        };
        let tokens = match &before {
            Some(session) => alive(store, session, now).await?,
            None => Vec::new(),
        };
        let kept = before.as_ref().filter(|session| session.is_live(now));
        let session = Session {
            person: login.person.clone(),
            provider: login.provider.clone(),
            provider_of: login.provider_of.clone(),
            created_at: now,
            expires_at: now.saturating_add(millis(lifetime)),
            roles: login.roles.clone(),
            epoch: kept.map_or_else(|| epoch.clone(), |session| session.epoch.clone()),
            tokens,
        };
        if put(store, &session, now, expected).await? {
            break session;
        }
    };
    follow(store, &key, now).await?;
    Ok(session)
}

/// Lets a session last longer that has not ended meanwhile, with what is known of its person now; `None`
/// when it has.
pub async fn extend(
    store: &dyn Store,
    session: &Session,
    renewed: &Login,
    lifetime: Duration,
    now: u64,
) -> Result<Option<Session>, SessionError> {
    let key = session.person.key();
    loop {
        let Some((mut current, version)) = find(store, &key).await? else {
            return Ok(None);
        };
        if !current.is_live(now) || current.epoch != session.epoch {
            return Ok(None);
        }
        let until = now.saturating_add(millis(lifetime));
        current.expires_at = current.expires_at.max(until);
        current.person = renewed.person.clone();
        current.roles.clone_from(&renewed.roles);
        if put(store, &current, now, Expected::Version(version)).await? {
            follow(store, &key, now).await?;
            return Ok(Some(current));
        }
    }
}

/// Ends a person's session, in every browser, and with it their agent tokens until the next login.
pub async fn sign_out(store: &dyn Store, key: &str, now: u64) -> Result<(), SessionError> {
    loop {
        let Some((mut session, version)) = find(store, key).await? else {
            return Ok(());
        };
        session.expires_at = session.expires_at.min(now);
        session.epoch.clear();
        session.tokens = alive(store, &session, now).await?;
        if put(store, &session, now, Expected::Version(version)).await? {
            Renewal::forget(store, key).await?;
            return follow(store, key, now).await;
        }
    }
}

/// Ends a session that is still this version; false when it is not: its person has come back.
pub async fn end_if(
    store: &dyn Store,
    session: &Session,
    version: u64,
    now: u64,
) -> Result<bool, SessionError> {
    let mut ended = session.clone();
    ended.expires_at = ended.expires_at.min(now);
    ended.epoch.clear();
    put(store, &ended, now, Expected::Version(version)).await
}

/// Makes a token the person's own. Not one that nobody would hear of: when the session ended
/// meanwhile, the token is revoked.
pub async fn adopt(
    store: &dyn Store,
    session: &Session,
    token: &AgentTokenRecord,
    now: u64,
) -> Result<(), SessionError> {
    if let Err(error) = add(store, session, &token.id, now).await {
        agent_tokens::revoke(store, &token.id, now).await?;
        return Err(error);
    }
    follow(store, &session.person.key(), now).await
}

/// Whether a person may have one more token, asked before it is made.
pub async fn has_room(store: &dyn Store, session: &Session, now: u64) -> Result<(), SessionError> {
    let is_full = session.tokens.len() >= MOST_TOKENS
        && alive(store, session, now).await?.len() >= MOST_TOKENS;
    match is_full {
        true => Err(SessionError::TooMany),
        false => Ok(()),
    }
}

async fn add(store: &dyn Store, session: &Session, id: &str, now: u64) -> Result<(), SessionError> {
    loop {
        let found = find(store, &session.person.key()).await?;
        let (mut current, version) = found.ok_or(SessionError::Over)?;
        if !current.is_live(now) || current.epoch != session.epoch {
            return Err(SessionError::Over);
        }
        if current.tokens.len() >= MOST_TOKENS {
            current.tokens = alive(store, &current, now).await?;
        }
        if current.tokens.len() >= MOST_TOKENS {
            return Err(SessionError::TooMany);
        }
        current.tokens.push(id.to_owned());
        if put(store, &current, now, Expected::Version(version)).await? {
            return Ok(());
        }
    }
}

/// The ids of those that are not revoked: these need not be remembered.
async fn alive(
    store: &dyn Store,
    session: &Session,
    now: u64,
) -> Result<Vec<String>, SessionError> {
    let all = tokens(store, session).await?;
    let alive = all
        .into_iter()
        .filter(|token| token.state(now) != TokenState::Revoked);
    Ok(alive.map(|token| token.id).collect())
}

/// The person's tokens, those included that took the place of theirs.
pub async fn tokens(
    store: &dyn Store,
    session: &Session,
) -> Result<Vec<AgentTokenRecord>, SessionError> {
    let mut found: Vec<AgentTokenRecord> = Vec::new();
    let owner = session.person.owner();
    for id in &session.tokens {
        let mut next = Some(id.clone());
        while let Some(id) = next
            .take()
            .filter(|id| !found.iter().any(|known| known.id == *id))
        {
            let Some(token) = agent_tokens::look(store, &id).await? else {
                break;
            };
            let is_theirs = token.owner.as_ref().is_some_and(|found| {
                (&found.issuer, &found.subject) == (&owner.issuer, &owner.subject)
            }) && token.tenant == session.person.tenant;
            next = token.rotated_to.clone();
            found.extend(is_theirs.then_some(token));
        }
    }
    found.sort_by(|one, other| (&one.name, one.created_at).cmp(&(&other.name, other.created_at)));
    Ok(found)
}

/// The session that is kept under this key.
pub async fn find(store: &dyn Directory, key: &str) -> Result<Option<(Session, u64)>, StoreError> {
    let Some(record) = store.get(KIND, key).await? else {
        return Ok(None);
    };
    let session = serde_json::from_slice(&record.value).map_err(|_| {
        StoreError::Unreadable("a session is of a newer release, or damaged".into())
    })?;
    Ok(Some((session, record.version)))
}

/// Every session that is kept, by its key. What a newer release wrote is left out.
pub async fn all(store: &dyn Directory) -> Result<Vec<(String, Session)>, StoreError> {
    let records = store.list(KIND).await?.into_iter();
    let read = records.filter_map(|(key, record)| {
        let session = serde_json::from_slice(&record.value).ok()?;
        Some((key, session))
    });
    Ok(read.collect())
}

/// Has every token of the person end with the session, and know them as it does. Who comes late with
/// what is old by now, sees that, and puts it right.
async fn follow(store: &dyn Store, key: &str, now: u64) -> Result<(), SessionError> {
    while let Some((session, version)) = find(store, key).await? {
        let (since, until) = (session.created_at, session.expires_at);
        let owner = session.owner();
        for token in tokens(store, &session).await? {
            let follows = (token.last_authenticated_at, token.auth_expires_at);
            let follows =
                follows == (Some(since), Some(until)) && token.owner.as_ref() == Some(&owner);
            if token.state(now) != TokenState::Revoked && !follows {
                let owner = Some(&owner);
                agent_tokens::keep_to_session(store, &token.id, since, until, owner).await?;
            }
        }
        let current = find(store, key).await?;
        if current.is_none_or(|(_, current)| current == version) {
            break;
        }
    }
    Ok(())
}

/// False when it is not as expected.
async fn put(
    store: &dyn Directory,
    session: &Session,
    now: u64,
    expected: Expected,
) -> Result<bool, SessionError> {
    let value =
        serde_json::to_vec(session).map_err(|error| StoreError::Unreadable(error.to_string()))?;
    let rest = Duration::from_millis(session.expires_at.saturating_sub(now));
    // Who has tokens is known for as long as these are: a login renews them.
    let ttl = session.tokens.is_empty().then(|| rest + FORGOTTEN);
    let key = session.person.key();
    Ok(store
        .put(KIND, &key, &value, ttl, expected)
        .await?
        .is_some())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
