//! Making tokens, and ending them. What is done here is done to the store; running gateways hear
//! of it by its news.

use std::time::Duration;

use thiserror::Error;
use turnpike_api::{Bulletin, Directory, Expected, Record, Secret, Store, StoreError};

use super::hashing::{Costs, HashError, hash};
use super::record::{AgentTokenRecord, Binding, KIND, Owner};
use super::text;

/// The topic of the news that a token changed; the body is its id.
pub const TOPIC: &str = "agent_token";

/// The kind of record that says who presented a token last; its key is the token's id.
pub const USE: &str = "agent_token_use";

/// What a new token is to be.
#[derive(Clone, Debug, Default)]
pub struct NewToken {
    pub name: String,
    pub owner: Option<Owner>,
    /// The tenant it is to act for.
    pub tenant: Option<String>,
    /// Until when its owner's session lasts, in milliseconds since 1970.
    pub auth_expires_at: Option<u64>,
    pub binding: Binding,
}

/// A new token. Its secret is known now and never again.
pub struct Issued {
    pub record: AgentTokenRecord,
    pub token: Secret,
}

/// Why there is no new token, or the old one stays.
#[derive(Debug, Error)]
pub enum IssueError {
    #[error("a token's name has 1 to 100 printable characters")]
    Name,
    #[error("the system has no randomness: {0}")]
    Random(getrandom::Error),
    #[error(transparent)]
    Hash(#[from] HashError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("no agent token has the id `{0}`")]
    Unknown(String),
    #[error("the agent token `{0}` is revoked; that is for good: create another one")]
    Revoked(String),
    #[error("the agent token `{0}` cannot be read; a newer release wrote it")]
    Unreadable(String),
    #[error("the agent token `{0}` has changed since it was looked at; look at it again")]
    Changed(String),
}

impl NewToken {
    /// Makes it; nothing is stored. `now` is in milliseconds since 1970. It computes a hash: not on
    /// a thread that serves requests.
    pub fn make(&self, costs: Costs, now: u64) -> Result<Issued, IssueError> {
        let name = name(&self.name)?;
        let (id, secret) = text::generate().map_err(IssueError::Random)?;
        let token = text::whole(&id, &secret);
        let record = AgentTokenRecord {
            name: name.to_owned(),
            hash: hash(&secret, costs)?,
            owner: self.owner.clone(),
            tenant: self.tenant.clone(),
            created_at: now,
            last_authenticated_at: self.auth_expires_at.map(|_| now),
            auth_expires_at: self.auth_expires_at,
            ends_at: None,
            rotated_to: None,
            revoked_at: None,
            binding: self.binding.clone(),
            id,
        };
        Ok(Issued { record, token })
    }
}

/// A text as a token's name.
pub fn name(text: &str) -> Result<&str, IssueError> {
    let name = text.trim();
    if name.is_empty() || name.chars().count() > 100 || name.chars().any(char::is_control) {
        return Err(IssueError::Name);
    }
    Ok(name)
}

/// Makes a token and stores what is to be kept of it.
pub async fn issue(
    store: &dyn Store,
    new: NewToken,
    costs: Costs,
    now: u64,
) -> Result<Issued, IssueError> {
    loop {
        let issued = new.make(costs, now)?;
        // Two ids alike are next to impossible, and would be one token too many.
        if put(store, &issued.record, Expected::Absent).await? {
            return Ok(issued);
        }
    }
}

/// Makes a token that takes the place of another, which goes on for `overlap`.
pub async fn rotate(
    store: &dyn Store,
    id: &str,
    overlap: Duration,
    costs: Costs,
    now: u64,
) -> Result<Issued, IssueError> {
    rotate_if(store, id, None, overlap, costs, now).await
}

/// The same, if the record is still this version.
pub async fn rotate_if(
    store: &dyn Store,
    id: &str,
    version: Option<u64>,
    overlap: Duration,
    costs: Costs,
    now: u64,
) -> Result<Issued, IssueError> {
    let (old, found) = find(store, id).await?;
    refuse_changed(id, version, found)?;
    refuse_revoked(&old, now)?;
    let new = NewToken {
        name: old.name,
        tenant: old.tenant.clone(),
        owner: old.owner,
        auth_expires_at: old.auth_expires_at,
        binding: old.binding,
    };
    let issued = issue(store, new, costs, now).await?;
    let ends_at = now.saturating_add(u64::try_from(overlap.as_millis()).unwrap_or(u64::MAX));
    let replaced = change(store, id, version, |old| {
        refuse_revoked(old, now)?;
        // It does not live longer for being rotated once more.
        old.ends_at = Some(old.ends_at.map_or(ends_at, |end| end.min(ends_at)));
        old.rotated_to = Some(issued.record.id.clone());
        Ok(())
    });
    let error = match replaced.await {
        Err(error) => error,
        Ok(_) => {
            follow(store, id, &issued.record.id).await?;
            return Ok(issued);
        }
    };
    // It was written, and only telling of it failed: the old one ends, so the new one must live.
    let is_written = find(store, id).await;
    if is_written.is_ok_and(|(old, _)| old.rotated_to.as_ref() == Some(&issued.record.id)) {
        return Ok(issued);
    }
    // Nobody was shown the new one.
    revoke(store, &issued.record.id, now).await?;
    Err(error)
}

/// Has a successor last as long as the token that it takes the place of: their owner may have logged
/// in or out while it was made.
async fn follow(store: &dyn Store, old: &str, successor: &str) -> Result<(), IssueError> {
    loop {
        let (old, _) = find(store, old).await?;
        let (new, _) = find(store, successor).await?;
        match old.auth_expires_at {
            Some(until) if (new.auth_expires_at, &new.owner) != (Some(until), &old.owner) => {
                let since = old.last_authenticated_at.unwrap_or(old.created_at);
                let owner = old.owner.as_ref();
                keep_to_session(store, successor, since, until, owner).await?;
            }
            _ => return Ok(()),
        }
    }
}

/// Ends a token for good. One that is revoked already stays as it is.
pub async fn revoke(store: &dyn Store, id: &str, now: u64) -> Result<AgentTokenRecord, IssueError> {
    revoke_if(store, id, None, now).await
}

/// The same, if the record is still this version.
pub async fn revoke_if(
    store: &dyn Store,
    id: &str,
    version: Option<u64>,
    now: u64,
) -> Result<AgentTokenRecord, IssueError> {
    change(store, id, version, |record| {
        record.revoked_at.get_or_insert(now);
        Ok(())
    })
    .await
}

/// Has a token of a person last as long as their session, and has it know them as that does. One that is
/// revoked stays so; one that is gone needs nothing.
pub async fn keep_to_session(
    store: &dyn Store,
    id: &str,
    authenticated_at: u64,
    expires_at: u64,
    owner: Option<&Owner>,
) -> Result<(), IssueError> {
    let kept = change(store, id, None, |record| {
        record.last_authenticated_at = Some(authenticated_at);
        record.auth_expires_at = Some(expires_at);
        if let Some(owner) = owner {
            record.owner = Some(owner.clone());
        }
        Ok(())
    });
    match kept.await {
        Ok(_) | Err(IssueError::Unknown(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// A token as it is kept; `None` when nobody has the id.
pub async fn look(store: &dyn Store, id: &str) -> Result<Option<AgentTokenRecord>, IssueError> {
    match find(store, id).await {
        Ok((record, _)) => Ok(Some(record)),
        Err(IssueError::Unknown(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn refuse_revoked(record: &AgentTokenRecord, now: u64) -> Result<(), IssueError> {
    match record.state(now) {
        super::TokenState::Revoked => Err(IssueError::Revoked(record.id.clone())),
        super::TokenState::Active | super::TokenState::SessionExpired => Ok(()),
    }
}

/// `None` = whatever version it is.
fn refuse_changed(id: &str, expected: Option<u64>, found: u64) -> Result<(), IssueError> {
    match expected.is_none_or(|expected| expected == found) {
        true => Ok(()),
        false => Err(IssueError::Changed(id.to_owned())),
    }
}

async fn change(
    store: &dyn Store,
    id: &str,
    expected: Option<u64>,
    change: impl Fn(&mut AgentTokenRecord) -> Result<(), IssueError>,
) -> Result<AgentTokenRecord, IssueError> {
    loop {
        let (mut record, version) = find(store, id).await?;
        refuse_changed(id, expected, version)?;
        change(&mut record)?;
        if put(store, &record, Expected::Version(version)).await? {
            return Ok(record);
        }
    }
}

async fn find(store: &dyn Store, id: &str) -> Result<(AgentTokenRecord, u64), IssueError> {
    let found: Option<Record> = Directory::get(store, KIND, id).await?;
    let found = found.ok_or_else(|| IssueError::Unknown(id.to_owned()))?;
    let record = serde_json::from_slice(&found.value);
    let record = record.map_err(|_| IssueError::Unreadable(id.to_owned()))?;
    Ok((record, found.version))
}

/// Writes a record and tells of it; false when it is not as expected.
async fn put(
    store: &dyn Store,
    record: &AgentTokenRecord,
    expected: Expected,
) -> Result<bool, IssueError> {
    let value = serde_json::to_vec(record);
    let value = value.map_err(|_| IssueError::Unreadable(record.id.clone()))?;
    let written = store.put(KIND, &record.id, &value, None, expected).await?;
    if written.is_some() {
        Bulletin::post(store, TOPIC, record.id.as_bytes()).await?;
    }
    Ok(written.is_some())
}
