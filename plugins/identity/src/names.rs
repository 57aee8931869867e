//! By which names people are known of whom usage knows a digest. They are kept apart from what was
//! used, so that a name can be forgotten and the figures stay.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use turnpike_api::{Attributes, Expected, Store, StoreError};

use crate::sso::Person;

/// The kind of record that holds a name; its key is [`Person::key`].
pub const KIND: &str = "person_name";

/// As many wait at most to be written. One more waits for its person's next sign of life.
const MOST: usize = 100_000;

/// In the place of a name that was forgotten.
const FORGOTTEN: &[u8] = b"null";

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A person, as whoever vouches for them says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersonName {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    pub issuer: String,
    pub subject: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
}

/// People who were seen of late, and whose names are to be written.
#[derive(Default)]
pub struct Names(Mutex<HashMap<String, PersonName>>);

impl PersonName {
    /// As people know them.
    pub fn shown(&self) -> &str {
        self.email.as_deref().unwrap_or(&self.subject)
    }

    /// The person of whom only that is known.
    pub fn person(self) -> Person {
        Person {
            tenant: self.tenant,
            issuer: self.issuer,
            subject: self.subject,
            email: self.email,
            ..Person::default()
        }
    }
}

impl Names {
    /// Notes that somebody called. Answers with the digest by which usage knows them.
    pub fn seen(&self, issuer: &str, subject: &str, of: &Attributes) -> String {
        let key = Person::key_of(of.tenant.as_deref(), issuer, subject);
        let name = PersonName {
            tenant: of.tenant.as_deref().map(str::to_owned),
            issuer: issuer.to_owned(),
            subject: subject.to_owned(),
            email: of.email.as_deref().map(str::to_owned),
        };
        let mut unwritten = self.unwritten();
        if unwritten.len() < MOST {
            unwritten.insert(key.clone(), name);
        }
        key
    }

    /// Writes the names that are not written yet, for as long as usage is kept. What could not be
    /// written is written the next time.
    pub async fn write(&self, store: &dyn Store, kept: Option<Duration>) -> Result<(), StoreError> {
        loop {
            let next = self
                .unwritten()
                .iter()
                .next()
                .map(|(key, name)| (key.clone(), name.clone()));
            let Some((key, name)) = next else {
                return Ok(());
            };
            write(store, &key, &name, kept).await?;
            let mut unwritten = self.unwritten();
            // Another name may have come meanwhile.
            if unwritten.get(&key) == Some(&name) {
                unwritten.remove(&key);
            }
        }
    }

    fn unwritten(&self) -> MutexGuard<'_, HashMap<String, PersonName>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes a name, unless it was forgotten just now: by a command, while it waited here.
async fn write(
    store: &dyn Store,
    key: &str,
    name: &PersonName,
    kept: Option<Duration>,
) -> Result<(), StoreError> {
    let Ok(value) = serde_json::to_vec(name) else {
        return Ok(());
    };
    let expected = match store.get(KIND, key).await? {
        Some(found) if found.value == FORGOTTEN => return Ok(()),
        Some(found) => Expected::Version(found.version),
        None => Expected::Absent,
    };
    // Where it has changed meanwhile, another replica wrote it, or it was forgotten.
    store.put(KIND, key, &value, kept, expected).await.map(drop)
}

/// Every name that is kept, by the digest.
pub async fn all(store: &dyn Store) -> Result<HashMap<String, PersonName>, StoreError> {
    let records = store.list(KIND).await?.into_iter();
    let read = |(key, record): (String, turnpike_api::Record)| {
        Some((key, serde_json::from_slice(&record.value).ok()?))
    };
    Ok(records.filter_map(read).collect())
}

/// Forgets a name. What was used stays, and is nobody's whom one could name. For a day it is not
/// written again: a gateway may have it still.
pub async fn forget(store: &dyn Store, key: &str) -> Result<(), StoreError> {
    let forgotten = store.put(KIND, key, FORGOTTEN, Some(DAY), Expected::Anything);
    forgotten.await.map(drop)
}
