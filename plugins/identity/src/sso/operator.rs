//! Operators who are signed in to their pages, and the tickets by which people come there.
//!
//! Both are in the store, so that a sign-in outlives a restart and is one for all replicas. What is
//! kept there lets nobody in: digests, and what a key or a person is known by. What somebody may do
//! is no part of it: that is looked up each time, in the configuration in force.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use turnpike_api::{Directory, Expected, StoreError};

use super::session::SessionError;
use super::{digest, random};

/// The kind of record of an operator who is signed in; its key is the cookie's digest.
const SIGNED_IN: &str = "operator_session";

/// The kind of record of a ticket; its key is the ticket's digest.
const TICKET: &str = "operator_ticket";

/// A working day: however busy somebody is, they sign in again after it.
pub const LASTS: Duration = Duration::from_secs(8 * 60 * 60);

/// So long a browser may take between two pages that it is sent to.
const TICKET_LASTS: Duration = Duration::from_secs(60);

/// How somebody signed in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Who {
    /// With a key of the management API, by what it is known by.
    Key(Box<str>),
    /// Through their provider, by their session's mark.
    Person(Box<str>),
}

/// Times are milliseconds since 1970.
#[derive(Serialize, Deserialize)]
struct SignedIn {
    who: Who,
    until: u64,
}

/// Brings a person who has logged in to the operator's pages, which may be at another address. It is
/// good once, for a minute, and in the browser that asked for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// The digest of what only the browser that asked has.
    pub challenge: String,
    /// Of the person's session.
    pub mark: String,
}

/// Signs somebody in. Answers with the cookie.
pub async fn sign_in(store: &dyn Directory, who: Who, now: u64) -> Result<String, SessionError> {
    let cookie = random().map_err(SessionError::Random)?;
    let millis = u64::try_from(LASTS.as_millis()).unwrap_or(u64::MAX);
    let signed_in = SignedIn {
        who,
        until: now.saturating_add(millis),
    };
    keep(store, (SIGNED_IN, &cookie), &signed_in, LASTS).await?;
    Ok(cookie)
}

/// Who is signed in with this cookie.
pub async fn signed_in(
    store: &dyn Directory,
    cookie: &str,
    now: u64,
) -> Result<Option<Who>, StoreError> {
    let record = store.get(SIGNED_IN, &digest(cookie)).await?;
    let kept = record.and_then(|record| serde_json::from_slice::<SignedIn>(&record.value).ok());
    Ok(kept.filter(|kept| now < kept.until).map(|kept| kept.who))
}

/// Signs out whoever has this cookie.
pub async fn sign_out(store: &dyn Directory, cookie: &str) -> Result<(), StoreError> {
    store.remove(SIGNED_IN, &digest(cookie)).await.map(drop)
}

/// Removes what is kept of a person here.
pub async fn forget(store: &dyn Directory, person: &str) -> Result<(), StoreError> {
    let is_theirs = |mark: &str| mark.split('.').next() == Some(person);
    for (key, record) in store.list(SIGNED_IN).await? {
        let kept = serde_json::from_slice::<SignedIn>(&record.value);
        if kept.is_ok_and(|kept| matches!(&kept.who, Who::Person(mark) if is_theirs(mark))) {
            store.remove(SIGNED_IN, &key).await?;
        }
    }
    for (key, record) in store.list(TICKET).await? {
        let kept = serde_json::from_slice::<Ticket>(&record.value);
        if kept.is_ok_and(|kept| is_theirs(&kept.mark)) {
            store.remove(TICKET, &key).await?;
        }
    }
    Ok(())
}

/// Whether a text looks like what a browser is known by.
pub fn is_challenge(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

impl Ticket {
    /// Makes it. What it is called stands in an address, where it is worth nothing to another browser.
    pub async fn issue(&self, store: &dyn Directory) -> Result<String, SessionError> {
        let ticket = random().map_err(SessionError::Random)?;
        keep(store, (TICKET, &ticket), self, TICKET_LASTS).await?;
        Ok(ticket)
    }

    /// Takes it, for the browser that asked for it; nobody has it from then on.
    pub async fn take(
        store: &dyn Directory,
        ticket: &str,
        challenge: &str,
    ) -> Result<Option<Self>, StoreError> {
        let key = digest(ticket);
        let Some(record) = store.get(TICKET, &key).await? else {
            return Ok(None);
        };
        let found = serde_json::from_slice::<Self>(&record.value).ok();
        // Who stole it cannot spend it either.
        let Some(found) = found.filter(|found| found.challenge == challenge) else {
            return Ok(None);
        };
        // Of several who ask at once, one has removed it.
        Ok(store.remove(TICKET, &key).await?.then_some(found))
    }
}

/// Keeps a record under the digest of what it is found by.
async fn keep(
    store: &dyn Directory,
    (kind, name): (&'static str, &str),
    record: &impl Serialize,
    ttl: Duration,
) -> Result<(), StoreError> {
    let value =
        serde_json::to_vec(record).map_err(|error| StoreError::Unreadable(error.to_string()))?;
    let key = digest(name);
    let kept = store.put(kind, &key, &value, Some(ttl), Expected::Absent);
    kept.await.map(drop)
}
