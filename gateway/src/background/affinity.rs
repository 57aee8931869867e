//! Which credentials sessions keep to, as replicas share it: a record a session, written beside the
//! calls, read when a session is new here; and news of sessions that have moved.

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use turnpike_api::{Clock, Expected, StoreError};

use crate::clock::millis;
use crate::runtime::Runtime;
use crate::upstream::affinity::{Change, Session};

/// The kind of record that holds the id of a session's credential; its key is the session. News of
/// those that have moved have this topic.
pub(super) const KIND: &str = "affinity";

/// As many are written at once.
const AT_ONCE: usize = 64;

/// After a store's failure.
const AGAIN: Duration = Duration::from_secs(1);

/// Whether another replica may know which credential a session keeps to that nobody knows here. Of a
/// store that is known to be away, nothing is asked.
pub fn is_new(runtime: &Runtime, session: Session, ttl: Duration) -> bool {
    let now = runtime.board.time.now();
    let is_known = || runtime.affinity.find(session, now, millis(ttl)).is_some();
    runtime.is_fleet() && !is_known() && runtime.store_is_away().is_none()
}

/// Asks for it. It waits no longer than for one answer of the store.
pub async fn recall(runtime: &Runtime, session: Session) {
    if let Ok(Some(record)) = runtime.store.get(KIND, &key(session)).await
        && let Ok(credential) = std::str::from_utf8(&record.value)
    {
        let now = runtime.board.time.now();
        runtime.affinity.hear(session, credential.into(), now);
    }
}

/// Tells what sessions keep to, until the process ends.
pub async fn keep(runtime: Arc<Runtime>) {
    if !runtime.is_fleet() {
        return;
    }
    loop {
        let changes = runtime.affinity.changes().await;
        let Some(ttl) = runtime.snapshot().affinity else {
            continue;
        };
        let telling = changes
            .into_iter()
            .map(|(session, change)| tell(runtime.clone(), session, change, ttl));
        let told = stream::iter(telling).buffer_unordered(AT_ONCE);
        let untold: Vec<(Session, Change)> = told.filter_map(ready).collect().await;
        if !untold.is_empty() {
            runtime.affinity.untold(untold);
            tokio::time::sleep(AGAIN).await;
        }
    }
}

/// Answers with what could not be told.
async fn tell(
    runtime: Arc<Runtime>,
    session: Session,
    change: Change,
    ttl: Duration,
) -> Option<(Session, Change)> {
    let agreed = agree(&runtime, session, &change, ttl).await;
    agreed.is_err().then_some((session, change))
}

/// Brings what is known here and what the store has together: who comes first is right, unless the
/// session has moved.
async fn agree(
    runtime: &Runtime,
    session: Session,
    change: &Change,
    ttl: Duration,
) -> Result<(), StoreError> {
    let (store, key) = (&runtime.store, key(session));
    // It is told again when a quarter of its time is over.
    let lasts = ttl + ttl / 4;
    loop {
        let found = store.get(KIND, &key).await?;
        let expected = match &found {
            None => Expected::Absent,
            Some(record) => Expected::Version(record.version),
        };
        let theirs = found.as_ref();
        let theirs = theirs.and_then(|record| std::str::from_utf8(&record.value).ok());
        if let Some(theirs) = theirs.filter(|theirs| **theirs != *change.credential)
            && !change.moved
        {
            let now = runtime.board.time.now();
            runtime.affinity.hear(session, theirs.into(), now);
            return Ok(());
        }
        let value = change.credential.as_bytes();
        let put = store.put(KIND, &key, value, Some(lasts), expected).await?;
        // Where it is not put, somebody else has written meanwhile.
        if put.is_some() {
            if change.moved {
                let news = format!("{key} {}", change.credential);
                store.post(KIND, news.as_bytes()).await?;
            }
            return Ok(());
        }
    }
}

/// A session has moved.
pub(super) fn hear(runtime: &Runtime, body: &str) {
    let Some((key, credential)) = body.split_once(' ') else {
        return;
    };
    if let Ok(session) = Session::from_str_radix(key, 16) {
        let now = runtime.board.time.now();
        runtime.affinity.hear_moved(session, credential.into(), now);
    }
}

fn key(session: Session) -> String {
    format!("{session:032x}")
}
