//! Everything that is kept of a person, found and removed: for who leaves, and for who asks.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::de::DeserializeOwned;
use turnpike_api::{Bulletin, Directory, Store, StoreError};

use crate::agent_tokens::{self, AgentTokenRecord, LastUse, TokenState};
use crate::names;
use crate::sso::confirmation::{self, Waiting};
use crate::sso::session::{self, SessionError};
use crate::sso::{LoginRate, Person, Session, device, operator, renewal};

/// What is kept of one person. What is told to others (logs, metrics that were read) is theirs.
#[derive(Debug)]
pub struct Kept {
    /// What their session is kept under.
    pub key: String,
    pub person: Person,
    pub session: Option<Session>,
    /// Whether the store has what their session is renewed with.
    pub renewable: bool,
    /// The keys of logins that wait for a confirmation code.
    waiting: Vec<String>,
    /// Their tokens, revoked ones too, each with its last use.
    pub tokens: Vec<(AgentTokenRecord, Option<LastUse>)>,
}

/// How long what is kept stays; `None` = for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// A token that is revoked, after that.
    pub revoked_tokens: Option<Duration>,
    /// A person, after the end of their last session.
    pub absent_people: Option<Duration>,
}

/// What was removed because its time was over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    pub tokens: usize,
    pub people: usize,
}

impl Kept {
    fn new(key: String, person: Person) -> Self {
        Self {
            key,
            person,
            session: None,
            renewable: false,
            waiting: Vec::new(),
            tokens: Vec::new(),
        }
    }

    /// Whether they are meant by an address (in any case of letters), a subject, or their key.
    pub fn is_called(&self, wanted: &str) -> bool {
        let by_address = |email: &String| email.eq_ignore_ascii_case(wanted);
        let owners = self
            .tokens
            .iter()
            .filter_map(|(token, _)| token.owner.as_ref());
        let mut addresses = owners
            .filter_map(|owner| owner.email.as_ref())
            .chain(&self.person.email);
        self.key == wanted || self.person.subject == wanted || addresses.any(by_address)
    }

    /// When they were last let in, or were last known to be; `None` = nobody knows.
    fn seen_at(&self) -> Option<u64> {
        let session = self.session.iter().map(|session| session.expires_at);
        let tokens = self.tokens.iter();
        let tokens = tokens.filter_map(|(token, _)| token.auth_expires_at);
        session.chain(tokens).max()
    }
}

/// Everybody of whom something is kept, by key.
pub async fn all(store: &dyn Store) -> Result<Vec<Kept>, StoreError> {
    let mut people: BTreeMap<String, Kept> = BTreeMap::new();
    let entry = |person: Person| {
        let key = person.key();
        (key.clone(), Kept::new(key, person))
    };
    for (_, session) in records::<Session>(store, session::KIND).await? {
        let (key, kept) = entry(session.person.clone());
        people.entry(key).or_insert(kept).session = Some(session);
    }
    for (key, _) in store.list(renewal::KIND).await? {
        if let Some(kept) = people.get_mut(&key) {
            kept.renewable = true;
        }
    }
    for (browser, waiting) in records::<Waiting>(store, confirmation::KIND).await? {
        let (key, kept) = entry(waiting.person);
        people.entry(key).or_insert(kept).waiting.push(browser);
    }
    let mut uses: BTreeMap<String, LastUse> = records(store, agent_tokens::USE)
        .await?
        .into_iter()
        .collect();
    for (id, token) in records::<AgentTokenRecord>(store, agent_tokens::KIND).await? {
        let Some(owner) = token.owner.clone() else {
            continue;
        };
        let (key, kept) = entry(Person {
            issuer: owner.issuer,
            subject: owner.subject,
            email: owner.email,
            groups: owner.groups,
            claims: owner.claims,
            team: owner.team,
            tenant: token.tenant.clone(),
        });
        let kept = people.entry(key).or_insert(kept);
        kept.tokens.push((token, uses.remove(&id)));
    }
    for (key, name) in names::all(store).await? {
        let person = name.person();
        let kept = || Kept::new(key.clone(), person);
        people.entry(key.clone()).or_insert_with(kept);
    }
    Ok(people.into_values().collect())
}

/// Everybody whom `wanted` may mean: an address may be several people's.
pub async fn find(store: &dyn Store, wanted: &str) -> Result<Vec<Kept>, StoreError> {
    let mut found = all(store).await?;
    found.retain(|kept| kept.is_called(wanted));
    Ok(found)
}

/// Removes everything that is kept of a person. Their tokens are refused from then on, as ones that
/// nobody ever had. Who is cut short may begin anew.
pub async fn forget(store: &dyn Store, kept: &Kept, now: u64) -> Result<(), SessionError> {
    // First of all they are let in no more, whatever becomes of the rest.
    match session::sign_out(store, &kept.key, now).await {
        // It is removed below, as it is.
        Err(SessionError::Store(StoreError::Unreadable(_))) => {}
        ended => ended?,
    }
    for browser in &kept.waiting {
        store.remove(confirmation::KIND, browser).await?;
    }
    device::forget(store, &kept.key).await?;
    operator::forget(store, &kept.key).await?;
    LoginRate::forget(store, &LoginRate::of_person(&kept.key)).await?;
    for (token, _) in &kept.tokens {
        forget_token(store, &token.id).await?;
    }
    renewal::Renewal::forget(store, &kept.key).await?;
    names::forget(store, &kept.key).await?;
    // Last: it is what the rest is found again by.
    store.remove(session::KIND, &kept.key).await?;
    Ok(())
}

async fn forget_token(store: &dyn Store, id: &str) -> Result<(), StoreError> {
    Directory::remove(store, agent_tokens::KIND, id).await?;
    Directory::remove(store, agent_tokens::USE, id).await?;
    let told = Bulletin::post(store, agent_tokens::TOPIC, id.as_bytes());
    told.await.map(drop)
}

/// Removes what has been kept for long enough, and what belongs to nothing any more. What stands in
/// the way of one person's removal stands in nobody else's.
pub async fn sweep(
    store: &dyn Store,
    retention: Retention,
    now: u64,
) -> Result<Swept, SessionError> {
    let mut swept = Swept::default();
    let mut failed = None;
    for kept in all(store).await? {
        let seen_at = kept.seen_at();
        if !seen_at.is_some_and(|seen_at| is_over(seen_at, retention.absent_people, now)) {
            continue;
        }
        match forget_absent(store, &kept, now).await {
            Ok(was_absent) => swept.people += usize::from(was_absent),
            Err(error @ SessionError::Store(StoreError::Unavailable(_))) => return Err(error),
            Err(error) => failed = Some(error),
        }
    }
    swept.tokens = sweep_tokens(store, retention.revoked_tokens, now).await?;
    failed.map_or(Ok(swept), Err)
}

/// False for somebody who has come back since it was looked.
async fn forget_absent(store: &dyn Store, kept: &Kept, now: u64) -> Result<bool, SessionError> {
    if let Some(session) = &kept.session {
        let found = session::find(store, &kept.key).await?;
        let unchanged = found.filter(|(found, _)| found == session);
        let Some((session, version)) = unchanged else {
            return Ok(false);
        };
        if !session::end_if(store, &session, version, now).await? {
            return Ok(false);
        }
    }
    forget(store, kept, now).await?;
    Ok(true)
}

async fn sweep_tokens(
    store: &dyn Store,
    kept: Option<Duration>,
    now: u64,
) -> Result<usize, StoreError> {
    // In this order: the use of a token that is made meanwhile is not taken for one of none.
    let uses = store.list(agent_tokens::USE).await?;
    let tokens: BTreeMap<String, AgentTokenRecord> = records(store, agent_tokens::KIND)
        .await?
        .into_iter()
        .collect();
    let mut swept = 0;
    for (id, token) in &tokens {
        let ended = [token.revoked_at, token.ends_at]
            .into_iter()
            .flatten()
            .min();
        let is_revoked = token.state(now) == TokenState::Revoked;
        // A session finds the token that took the place of another by that one.
        let leads_on = token
            .rotated_to
            .as_ref()
            .is_some_and(|id| tokens.contains_key(id));
        if is_revoked && !leads_on && ended.is_some_and(|ended| is_over(ended, kept, now)) {
            forget_token(store, id).await?;
            swept += 1;
        }
    }
    // A use may be written down just after its token was removed.
    for (id, _) in uses {
        if !tokens.contains_key(&id)
            && Directory::get(store, agent_tokens::KIND, &id)
                .await?
                .is_none()
        {
            Directory::remove(store, agent_tokens::USE, &id).await?;
        }
    }
    Ok(swept)
}

/// Whether what ended then has been kept for long enough.
fn is_over(ended: u64, kept: Option<Duration>, now: u64) -> bool {
    let kept = kept.map(|kept| u64::try_from(kept.as_millis()).unwrap_or(u64::MAX));
    kept.is_some_and(|kept| ended.saturating_add(kept) <= now)
}

/// The records of a kind that this release can read.
async fn records<T: DeserializeOwned>(
    store: &dyn Store,
    kind: &'static str,
) -> Result<Vec<(String, T)>, StoreError> {
    let records = store.list(kind).await?.into_iter();
    let read = |(key, record): (String, turnpike_api::Record)| {
        Some((key, serde_json::from_slice(&record.value).ok()?))
    };
    Ok(records.filter_map(read).collect())
}
