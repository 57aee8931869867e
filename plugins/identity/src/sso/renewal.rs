//! Sessions that are renewed in silence (F26), where the provider granted a refresh token.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use turnpike_api::{Directory, Expected, StoreError};

use super::Session;

/// The kind of record of what a session is renewed with; its key is the session's.
pub const KIND: &str = "session_renewal";

/// Longer than a renewal takes.
const UNDER_WAY: Duration = Duration::from_secs(60 * 60);

/// What a session is renewed with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renewal {
    /// When the session ends that is to be renewed.
    pub expires_at: u64,
    /// From where its person logged in.
    pub client: String,
    /// The refresh token, sealed for the session's key.
    pub sealed: String,
}

impl Renewal {
    /// Keeps it for as long as the session lasts, in the place of what was kept before.
    pub async fn keep(
        &self,
        session: &Session,
        store: &dyn Directory,
        now: u64,
    ) -> Result<(), StoreError> {
        let value = serde_json::to_vec(self).unwrap_or_default();
        let key = session.person.key();
        store
            .put(KIND, &key, &value, self.ttl(now), Expected::Anything)
            .await?;
        Ok(())
    }

    /// Keeps it in the place of `before`; false when that is no longer what is kept: its person
    /// has logged in anew, or out.
    pub async fn replace(
        &self,
        before: &Self,
        key: &str,
        store: &dyn Directory,
        now: u64,
    ) -> Result<bool, StoreError> {
        let Some(record) = store.get(KIND, key).await? else {
            return Ok(false);
        };
        if serde_json::from_slice::<Self>(&record.value).ok().as_ref() != Some(before) {
            return Ok(false);
        }
        let value = serde_json::to_vec(self).unwrap_or_default();
        let expected = Expected::Version(record.version);
        let put = store.put(KIND, key, &value, self.ttl(now), expected);
        Ok(put.await?.is_some())
    }

    /// A little longer than the session: a renewal may be under way at its end.
    fn ttl(&self, now: u64) -> Option<Duration> {
        let rest = self.expires_at.saturating_sub(now);
        Some(Duration::from_millis(rest) + UNDER_WAY)
    }

    /// Of the session of this key.
    pub async fn of(store: &dyn Directory, key: &str) -> Result<Option<Self>, StoreError> {
        let record = store.get(KIND, key).await?;
        Ok(record.and_then(|record| serde_json::from_slice(&record.value).ok()))
    }

    /// Forgets what the session of this key could be renewed with.
    pub async fn forget(store: &dyn Directory, key: &str) -> Result<(), StoreError> {
        store.remove(KIND, key).await.map(drop)
    }

    /// Whether it is time to.
    pub fn is_due(&self, lead: Duration, now: u64) -> bool {
        let lead = u64::try_from(lead.as_millis()).unwrap_or(u64::MAX);
        now < self.expires_at && now.saturating_add(lead) >= self.expires_at
    }
}
