//! Device logins (F28, RFC 8628): a program without a browser asks for two codes. A person who is
//! signed in types the short one and says yes or no; the program polls with the long one, and gets
//! an agent token of theirs.
//!
//! What is kept is one record a login. It holds neither code: the short one is its key, under a
//! seal, and of the long one there is a digest. The token is made for the poll that removes the
//! record, so that there is one token, and it is nowhere until then.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use turnpike_api::{Directory, Expected, Secret, StoreError};

use super::{Purpose, Seals, Session, digest};

/// The kind of record; its key is the seal on the user code.
const KIND: &str = "device_login";

/// So long a person has to answer, and the program to fetch its token.
pub const LASTS: Duration = Duration::from_secs(15 * 60);

/// So long after its end it is still known that there was one.
const KNOWN: Duration = Duration::from_secs(5 * 60);

/// Seconds between two polls, and by how much they grow for a program that is quicker.
pub const INTERVAL: u64 = 5;

/// Seconds. A program that has not slowed down to this costs no more writes.
const SLOWEST: u64 = 60;

/// Milliseconds: a poll that is so much early has only travelled faster than the one before.
const EARLY: u64 = 1_000;

/// As many wait at most. An address has about 20 in their time, by the limit on its attempts.
const MOST: usize = 5_000;

/// No vowels, so that it is no word; nothing that is taken for a digit.
const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";

/// What a person types.
#[derive(Clone, PartialEq, Eq)]
pub struct UserCode(String);

/// Who asks, as they say it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asking {
    pub client_id: String,
    /// A name for the agent or device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The address that it asks from. This one we know.
    pub address: String,
    /// Whose host it asks at: nobody of another tenant answers it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
}

/// A login of a device. Times are milliseconds since 1970.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeviceLogin {
    #[serde(flatten)]
    pub asking: Asking,
    pub created_at: u64,
    pub expires_at: u64,
    /// The device code's digest.
    device: String,
    interval: u64,
    next_poll: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    answer: Option<Answer>,
}

/// What the person said.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    No,
    Yes(Approved),
}

/// Whose token it is to be. It is made by the session that said yes, and by no later one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approved {
    /// [`Person::key`](super::Person::key).
    pub person: String,
    pub epoch: String,
    /// The token's name.
    pub name: String,
}

/// What a device is given.
pub struct Begun {
    pub device_code: Secret,
    pub user_code: UserCode,
}

/// Why a device is given nothing.
#[derive(Debug, Error)]
pub enum BeginError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the system has no randomness: {0}")]
    Random(getrandom::Error),
    #[error("too many devices are waiting")]
    Full,
}

/// What a poll comes to.
#[derive(Debug)]
pub enum Polled {
    Pending,
    SlowDown,
    Denied,
    Expired,
    /// Nobody has such a code, or its token was given already.
    Unknown,
    /// Nobody else has this; and the address that the login was begun from.
    Approved(Approved, String),
}

impl Approved {
    pub fn by(session: &Session, name: &str) -> Self {
        Self {
            person: session.person.key(),
            epoch: session.epoch().to_owned(),
            name: name.to_owned(),
        }
    }

    /// Whether it is that session still.
    pub fn is_by(&self, session: &Session) -> bool {
        self.person == session.person.key() && self.epoch == session.epoch()
    }
}

impl UserCode {
    /// As people type it: with or without the dash, blanks and capitals.
    pub fn read(typed: &str) -> Option<Self> {
        let letters = typed
            .chars()
            .filter(|c| !c.is_whitespace() && *c != '-')
            .map(|c| c.to_ascii_uppercase());
        // One more than a code has tells that it is none; the rest need not be looked at.
        let code: String = letters.take(9).collect();
        let is_one = code.len() == 8 && code.bytes().all(|byte| LETTERS.contains(&byte));
        is_one.then_some(Self(code))
    }

    fn generate() -> Result<Self, getrandom::Error> {
        let mut code = String::new();
        while code.len() < 8 {
            let mut byte = [0];
            getrandom::fill(&mut byte)?;
            // All letters alike: what is left over above the last multiple is thrown again.
            if byte[0] < 240 {
                code.push(char::from(LETTERS[usize::from(byte[0] % 20)]));
            }
        }
        Ok(Self(code))
    }

    /// `BCDF-GHJK`.
    pub fn shown(&self) -> String {
        format!("{}-{}", &self.0[..4], &self.0[4..])
    }

    fn key(&self, seals: &Seals) -> String {
        seals.seal(Purpose::Device, &self.0)
    }
}

/// Notes that a device asks, and makes its codes.
pub async fn begin(
    asking: Asking,
    seals: &Seals,
    store: &dyn Directory,
    now: u64,
) -> Result<Begun, BeginError> {
    // Of many who ask at this moment a few may come beyond; the next one does not.
    let waiting = store.list(KIND).await?.into_iter().filter(|(_, record)| {
        let login = serde_json::from_slice::<DeviceLogin>(&record.value);
        login.map_or(true, |login| login.waits(now))
    });
    if waiting.count() >= MOST {
        return Err(BeginError::Full);
    }
    let secret = super::random().map_err(BeginError::Random)?;
    let login = DeviceLogin {
        asking,
        created_at: now,
        expires_at: now.saturating_add(millis(LASTS)),
        device: digest(&secret),
        interval: INTERVAL,
        next_poll: now,
        answer: None,
    };
    loop {
        let user_code = UserCode::generate().map_err(BeginError::Random)?;
        if put(store, &user_code.key(seals), &login, now, Expected::Absent).await? {
            // The record is found by the user code, which the device knows anyway.
            let device_code = Secret::new(format!("{}.{secret}", user_code.0));
            return Ok(Begun {
                device_code,
                user_code,
            });
        }
    }
}

/// The login that waits under this code.
pub async fn look(
    code: &UserCode,
    seals: &Seals,
    store: &dyn Directory,
    now: u64,
) -> Result<Option<DeviceLogin>, StoreError> {
    let found = find(store, &code.key(seals)).await?;
    Ok(found
        .map(|(login, _)| login)
        .filter(|login| login.waits(now)))
}

/// Answers the login that waits under this code; false when there is none (any more).
pub async fn answer(
    code: &UserCode,
    answer: &Answer,
    seals: &Seals,
    store: &dyn Directory,
    now: u64,
) -> Result<bool, StoreError> {
    let key = code.key(seals);
    while let Some((mut login, version)) = find(store, &key).await? {
        if !login.waits(now) {
            break;
        }
        login.answer = Some(answer.clone());
        if put(store, &key, &login, now, Expected::Version(version)).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A device asks what was answered.
pub async fn poll(
    device_code: &str,
    (client_id, tenant): (&str, Option<&str>),
    seals: &Seals,
    store: &dyn Directory,
    now: u64,
) -> Result<Polled, StoreError> {
    let parts = device_code.split_once('.');
    let parts = parts.and_then(|(code, secret)| Some((UserCode::read(code)?, secret)));
    let Some((code, secret)) = parts else {
        return Ok(Polled::Unknown);
    };
    let key = code.key(seals);
    loop {
        let found = find(store, &key).await?;
        let its_own = |login: &DeviceLogin| {
            login.device == digest(secret)
                && login.asking.client_id == client_id
                && login.asking.tenant.as_deref() == tenant
        };
        let Some((mut login, version)) = found.filter(|(login, _)| its_own(login)) else {
            return Ok(Polled::Unknown);
        };
        if now >= login.expires_at {
            return Ok(Polled::Expired);
        }
        match login.answer.take() {
            Some(Answer::No) => return Ok(Polled::Denied),
            Some(Answer::Yes(approved)) => {
                // Of several who ask at once, one has removed it.
                return Ok(match store.remove(KIND, &key).await? {
                    true => Polled::Approved(approved, login.asking.address),
                    false => Polled::Unknown,
                });
            }
            None => {}
        }
        let is_early = now.saturating_add(EARLY) < login.next_poll;
        let polled = match is_early {
            true if login.interval >= SLOWEST => return Ok(Polled::SlowDown),
            true => {
                login.interval += INTERVAL;
                Polled::SlowDown
            }
            false => Polled::Pending,
        };
        login.next_poll = now.saturating_add(login.interval * 1000);
        if put(store, &key, &login, now, Expected::Version(version)).await? {
            return Ok(polled);
        }
    }
}

/// Removes the logins that a person has said yes to, and that nobody has fetched.
pub async fn forget(store: &dyn Directory, person: &str) -> Result<(), StoreError> {
    for (key, record) in store.list(KIND).await? {
        let login = serde_json::from_slice::<DeviceLogin>(&record.value).ok();
        let answer = login.and_then(|login| login.answer);
        if matches!(answer, Some(Answer::Yes(approved)) if approved.person == person) {
            store.remove(KIND, &key).await?;
        }
    }
    Ok(())
}

impl DeviceLogin {
    fn waits(&self, now: u64) -> bool {
        self.answer.is_none() && now < self.expires_at
    }
}

async fn find(store: &dyn Directory, key: &str) -> Result<Option<(DeviceLogin, u64)>, StoreError> {
    let Some(record) = store.get(KIND, key).await? else {
        return Ok(None);
    };
    let login = serde_json::from_slice(&record.value).map_err(|_| {
        StoreError::Unreadable("a device's login is of a newer release, or damaged".into())
    })?;
    Ok(Some((login, record.version)))
}

/// False when it is not as expected.
async fn put(
    store: &dyn Directory,
    key: &str,
    login: &DeviceLogin,
    now: u64,
    expected: Expected,
) -> Result<bool, StoreError> {
    let value = serde_json::to_vec(login);
    let value = value.map_err(|error| StoreError::Unreadable(error.to_string()))?;
    let rest = Duration::from_millis(login.expires_at.saturating_sub(now)) + KNOWN;
    let written = store.put(KIND, key, &value, Some(rest), expected);
    Ok(written.await?.is_some())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_as_people_type_it() {
        let code = UserCode::generate().unwrap();
        let shown = code.shown();
        assert_eq!(shown.len(), 9);
        for typed in [
            shown.clone(),
            shown.to_lowercase(),
            shown.replace('-', ""),
            format!(" {} ", shown.replace('-', " ")),
        ] {
            assert!(UserCode::read(&typed) == Some(code.clone()), "{typed}");
        }
        for none in [
            "",
            "BCDF-GHJ",
            "BCDF-GHJKL",
            "BCDF-GHJA",
            "BCDF-GHJ1",
            "ＢCDF-GHJK",
        ] {
            assert!(UserCode::read(none).is_none(), "{none}");
        }
        assert!(UserCode::read(&"B".repeat(70_000)).is_none());
    }
}
