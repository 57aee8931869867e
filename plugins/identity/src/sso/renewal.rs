//! Sessions that are renewed in silence (F26), where the provider granted a refresh token.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use turnpike_api::{Directory, Expected, StoreError};

use super::Session;

/// The kind of record of what a session is renewed with; its key is the session's.
pub const KIND: &str = "session_renewal";

/// What a session is renewed with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renewal {
    /// When the session ends that is to be renewed.
    pub expires_at: u64,
    /// From where its person logged in.
    pub client: String,
    /// The refresh token, hidden.
    pub hidden: String,
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
        let rest = self.expires_at.saturating_sub(now).max(1);
        let (key, ttl) = (session.person.key(), Some(Duration::from_millis(rest)));
        store
            .put(KIND, &key, &value, ttl, Expected::Anything)
            .await?;
        Ok(())
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
