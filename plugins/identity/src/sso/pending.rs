//! Logins that are under way at a provider.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use turnpike_api::{Directory, Expected};

use super::{LoginError, digest};

/// So long a person may take at their provider.
const TTL: Duration = Duration::from_secs(15 * 60);

/// The kind of record of a login under way; its key is the digest of its `state`.
const KIND: &str = "login";

/// A login under way. It holds no secret: what ties the answer to it is made of its `state`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    pub provider: String,
    /// Whose host it began at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The digest of the cookie of the browser that began it, and of whose host it came to.
    pub browser: String,
    #[serde(flatten)]
    pub errand: Errand,
}

/// What a person logs in for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Errand {
    /// The token of the link that the login began with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// To answer a device: its user code, or nothing when that is still to be typed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// To come to the operator's pages: the challenge of the browser that asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<String>,
}

impl Pending {
    /// Notes it, under a new `state`.
    pub async fn note(&self, store: &dyn Directory) -> Result<String, LoginError> {
        let state = super::random().map_err(LoginError::Random)?;
        let value = serde_json::to_vec(self).unwrap_or_default();
        let key = digest(&state);
        store
            .put(KIND, &key, &value, Some(TTL), Expected::Absent)
            .await?;
        Ok(state)
    }

    /// The login of this `state`, which nobody has from then on; `None` when there is none, or
    /// another browser began it.
    pub async fn take(
        store: &dyn Directory,
        state: &str,
        browser: &str,
    ) -> Result<Option<Self>, LoginError> {
        let key = digest(state);
        let Some(record) = store.get(KIND, &key).await? else {
            return Ok(None);
        };
        let pending = serde_json::from_slice::<Self>(&record.value).ok();
        // Who stole a state cannot end its login either.
        let Some(pending) = pending.filter(|pending| pending.browser == browser) else {
            return Ok(None);
        };
        // Of several who ask at once, one has removed it.
        Ok(store.remove(KIND, &key).await?.then_some(pending))
    }
}
