//! Confirmation codes (F25, `single_user`): whoever can read the gateway's log is let in.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use turnpike_api::{Directory, Expected, StoreError};

use super::session::Login;
use super::{Errand, LoginError, Person, Purpose, Seals};

/// The kind of record of a login that waits for its code; its key is the digest of the browser's
/// cookie.
pub const KIND: &str = "confirmation";

/// So long after its end it is still known that there was one.
const KNOWN: Duration = Duration::from_secs(60 * 60);

/// A login that waits for its code.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Waiting {
    pub person: Person,
    pub provider: String,
    /// The tenant whose own provider that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_of: Option<String>,
    #[serde(flatten)]
    pub errand: Errand,
    /// What the session can be renewed with, sealed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<String>,
    /// The code's seal: the code itself is in the log only.
    seal: String,
    attempts: u32,
    expires_at: u64,
}

/// What a code that was typed came to.
#[derive(Debug)]
pub enum Typed {
    /// It was right. Nobody else has this login.
    Right(Box<Waiting>),
    /// So many attempts remain.
    Wrong(u32),
    Expired,
    /// There was one attempt too many, now or before.
    Spent,
    /// This browser has no login that waits.
    Nothing,
}

impl Waiting {
    /// Has a login wait in this browser, and makes the code, six digits, for the log.
    pub async fn begin(
        (login, errand, sealed): (Login, Errand, Option<String>),
        browser: &str,
        expiry: Duration,
        seals: &Seals,
        store: &dyn Directory,
        now: u64,
    ) -> Result<String, LoginError> {
        let code = six_digits().map_err(LoginError::Random)?;
        let lasts = u64::try_from(expiry.as_millis()).unwrap_or(u64::MAX);
        let waiting = Self {
            person: login.person,
            provider: login.provider,
            provider_of: login.provider_of,
            errand,
            sealed,
            seal: seals.seal(Purpose::Code, &bound(browser, &code)),
            attempts: 0,
            expires_at: now.saturating_add(lasts),
        };
        let value = serde_json::to_vec(&waiting).unwrap_or_default();
        // Another login of the same browser takes its place.
        let ttl = Some(expiry + KNOWN);
        store
            .put(KIND, browser, &value, ttl, Expected::Anything)
            .await?;
        Ok(code)
    }

    /// Whose login waits in this browser.
    pub async fn whose(store: &dyn Directory, browser: &str) -> Result<Option<Person>, StoreError> {
        let record = store.get(KIND, browser).await?;
        let waiting = record.and_then(|found| serde_json::from_slice::<Self>(&found.value).ok());
        Ok(waiting.map(|waiting| waiting.person))
    }

    /// Whether a login waits in this browser.
    pub async fn is_there(store: &dyn Directory, browser: &str) -> Result<bool, StoreError> {
        Ok(store.get(KIND, browser).await?.is_some())
    }

    pub fn into_login(self) -> Login {
        Login {
            person: self.person,
            provider: self.provider,
            provider_of: self.provider_of,
            roles: Vec::new(),
        }
    }
}

/// Tries a code. An attempt is counted before it is looked at, so that many at once are as many.
pub async fn try_code(
    code: &str,
    browser: &str,
    most: u32,
    seals: &Seals,
    store: &dyn Directory,
    now: u64,
) -> Result<Typed, StoreError> {
    loop {
        let Some(record) = store.get(KIND, browser).await? else {
            return Ok(Typed::Nothing);
        };
        let Ok(mut waiting) = serde_json::from_slice::<Waiting>(&record.value) else {
            return Ok(Typed::Nothing);
        };
        if waiting.attempts >= most {
            return Ok(Typed::Spent);
        }
        if now >= waiting.expires_at {
            return Ok(Typed::Expired);
        }
        waiting.attempts += 1;
        let value = serde_json::to_vec(&waiting).unwrap_or_default();
        let rest = Duration::from_millis(waiting.expires_at - now) + KNOWN;
        let expected = Expected::Version(record.version);
        if store
            .put(KIND, browser, &value, Some(rest), expected)
            .await?
            .is_none()
        {
            continue;
        }
        let typed: String = code
            .chars()
            .filter(|c| !c.is_whitespace() && *c != '-')
            .collect();
        if seals.is_sealed(Purpose::Code, &bound(browser, &typed), &waiting.seal) {
            // Of two that are right at once, one has removed it.
            return Ok(match store.remove(KIND, browser).await? {
                true => Typed::Right(Box::new(waiting)),
                false => Typed::Nothing,
            });
        }
        return Ok(match most - waiting.attempts {
            0 => Typed::Spent,
            left => Typed::Wrong(left),
        });
    }
}

/// A code is of one browser's login.
fn bound(browser: &str, code: &str) -> String {
    format!("{browser} {code}")
}

fn six_digits() -> Result<String, getrandom::Error> {
    const CODES: u64 = 1_000_000;
    loop {
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes)?;
        let number = u64::from_le_bytes(bytes);
        // All codes alike: what is left over above the last multiple is thrown again.
        if number < u64::MAX - u64::MAX % CODES {
            return Ok(format!("{:06}", number % CODES));
        }
    }
}
