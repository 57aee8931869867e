//! Tickets: who has logged in at the gateway's public address comes with one to the operator's
//! pages, which may be at another. It is good once, for a minute, and in the browser that asked.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use turnpike_api::{Directory, Expected, StoreError};
use turnpike_identity::sso::{digest, random};

use super::problem::Problem;

/// The kind of record of a ticket; its key is the ticket's digest.
const KIND: &str = "operator_ticket";

/// So long a browser may take between two pages that it is sent to.
const TTL: Duration = Duration::from_secs(60);

#[derive(Serialize, Deserialize)]
pub(super) struct Ticket {
    /// What the browser that asked is known by: the digest of what only it has.
    pub(super) challenge: String,
    /// Of the person's session.
    pub(super) mark: String,
}

/// Whether a text looks like what a browser is known by.
pub(super) fn is_challenge(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

impl Ticket {
    /// Makes it. It is for an address, where it is worth nothing to another browser.
    pub(super) async fn issue(self, store: &dyn Directory) -> Result<String, Problem> {
        let ticket = random().map_err(|error| {
            tracing::error!(%error, "no randomness");
            Problem::internal()
        })?;
        let value = serde_json::to_vec(&self).map_err(|_| Problem::internal())?;
        let key = digest(&ticket);
        let kept = store.put(KIND, &key, &value, Some(TTL), Expected::Absent);
        kept.await?;
        Ok(ticket)
    }

    /// Whose it is, once, for the browser that asked for it.
    pub(super) async fn take(
        store: &dyn Directory,
        ticket: &str,
        challenge: &str,
    ) -> Result<Option<Self>, StoreError> {
        let key = digest(ticket);
        let Some(record) = store.get(KIND, &key).await? else {
            return Ok(None);
        };
        let found = serde_json::from_slice::<Self>(&record.value).ok();
        // Who stole it cannot spend it either.
        let Some(found) = found.filter(|found| found.challenge == challenge) else {
            return Ok(None);
        };
        // Of several who ask at once, one has removed it.
        Ok(store.remove(KIND, &key).await?.then_some(found))
    }
}
