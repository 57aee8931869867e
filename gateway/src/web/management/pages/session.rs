//! Who is signed in as an operator.
//!
//! In the store, so that a session outlives a restart and is one for all replicas. What is kept
//! there lets nobody in: the cookie's digest, and what its key or person is known by. What they may
//! do is looked up each time, in the configuration in force.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use turnpike_api::{Directory, Expected, StoreError};
use turnpike_identity::sso::{Session, digest, random};

use super::super::access::Actor;
use crate::snapshot::Snapshot;
use crate::web::problem::Problem;

/// The kind of record of an operator who is signed in; its key is the cookie's digest.
const KIND: &str = "operator_session";

/// A working day: however busy somebody is, they sign in again after it.
const LASTS: Duration = Duration::from_secs(8 * 60 * 60);

/// How somebody signed in.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Who {
    /// With a key, by what it is known by.
    Key(Box<str>),
    /// Through their provider, by their session's mark.
    Person(Box<str>),
}

/// Times are milliseconds since 1970.
#[derive(Serialize, Deserialize)]
struct Kept {
    who: Who,
    until: u64,
}

/// The seconds that the cookie lasts.
pub(super) fn seconds() -> i64 {
    i64::try_from(LASTS.as_secs()).unwrap_or(i64::MAX)
}

/// Begins one. Answers with its cookie.
pub(super) async fn begin(store: &dyn Directory, who: Who, now: u64) -> Result<String, Problem> {
    let cookie = random().map_err(|error| {
        tracing::error!(%error, "no randomness");
        Problem::internal()
    })?;
    let millis = u64::try_from(LASTS.as_millis()).unwrap_or(u64::MAX);
    let kept = Kept {
        who,
        until: now.saturating_add(millis),
    };
    let value = serde_json::to_vec(&kept).map_err(|_| Problem::internal())?;
    let key = digest(&cookie);
    let put = store.put(KIND, &key, &value, Some(LASTS), Expected::Absent);
    put.await?;
    Ok(cookie)
}

/// Whose it is, if it lasts: until its time is over, its key is gone from the configuration, or its
/// person is signed out or may not manage any more.
pub(super) async fn find(
    cookie: &str,
    store: &dyn Directory,
    snapshot: &Snapshot,
    now: u64,
) -> Result<Option<Actor>, StoreError> {
    let Some(record) = store.get(KIND, &digest(cookie)).await? else {
        return Ok(None);
    };
    let kept = serde_json::from_slice::<Kept>(&record.value).ok();
    let Some(kept) = kept.filter(|kept| now < kept.until) else {
        return Ok(None);
    };
    match kept.who {
        Who::Key(mark) => Ok(snapshot.management.of_mark(&mark)),
        Who::Person(_) if !snapshot.management.entrance.by_login => Ok(None),
        Who::Person(mark) => {
            let person = Session::of_mark(&mark, store, now).await?;
            Ok(person.and_then(|person| Actor::of_person(&person, snapshot)))
        }
    }
}

/// Ends it, here and everywhere.
pub(super) async fn end(cookie: &str, store: &dyn Directory) -> Result<(), StoreError> {
    store.remove(KIND, &digest(cookie)).await?;
    Ok(())
}
