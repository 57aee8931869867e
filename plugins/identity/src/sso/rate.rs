//! Logins are slowed down (F27): per client address, and per browser.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use turnpike_api::{Directory, Expected, StoreError};

/// The kind of record of who tries; its key says who.
const KIND: &str = "login_rate";

/// An attempt is forgotten after so long without another one, at least.
const FORGOTTEN: Duration = Duration::from_secs(600);

/// How logins are slowed down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoginRate {
    /// As many in a row are let through.
    pub attempts: u32,
    /// By how much a wait is longer than the one before.
    pub multiplier: u32,
    pub max: Duration,
}

/// Who has tried how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tries {
    pub who: String,
    pub attempts: u32,
    /// When the next one is let through, in milliseconds since 1970.
    pub until: u64,
}

/// How long to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    pub seconds: u64,
}

#[derive(Default, Serialize, Deserialize)]
struct Tried {
    attempts: u32,
    /// When the next one is let through.
    until: u64,
}

impl LoginRate {
    /// Counts an attempt of `who`, unless there is something to wait for. `now` is in milliseconds
    /// since 1970. Of attempts at the same moment each counts.
    pub async fn count(
        &self,
        store: &dyn Directory,
        who: &str,
        now: u64,
    ) -> Result<Result<(), Wait>, StoreError> {
        loop {
            let record = store.get(KIND, who).await?;
            let (mut tried, expected) = match &record {
                None => (Tried::default(), Expected::Absent),
                Some(record) => (
                    serde_json::from_slice(&record.value).unwrap_or_default(),
                    Expected::Version(record.version),
                ),
            };
            if now < tried.until {
                let seconds = (tried.until - now).div_ceil(1000);
                return Ok(Err(Wait { seconds }));
            }
            tried.attempts = tried.attempts.saturating_add(1);
            tried.until = now.saturating_add(self.after(tried.attempts));
            let value = serde_json::to_vec(&tried).unwrap_or_default();
            let ttl = Some(FORGOTTEN.max(self.max * 2));
            if store.put(KIND, who, &value, ttl, expected).await?.is_some() {
                return Ok(Ok(()));
            }
        }
    }

    /// Takes back an attempt of `now` that was right, and the wait that it began. Those that were wrong
    /// stay counted, and the wait for the last of them was over before this one was let through: who
    /// knows one right code cannot guess others by it any quicker.
    pub async fn forgive(
        &self,
        store: &dyn Directory,
        who: &str,
        now: u64,
    ) -> Result<(), StoreError> {
        while let Some(record) = store.get(KIND, who).await? {
            let tried: Tried = serde_json::from_slice(&record.value).unwrap_or_default();
            let began_here = tried.until == now.saturating_add(self.after(tried.attempts));
            let tried = Tried {
                attempts: tried.attempts.saturating_sub(1),
                until: if began_here { now } else { tried.until },
            };
            let value = serde_json::to_vec(&tried).unwrap_or_default();
            let ttl = Some(FORGOTTEN.max(self.max * 2));
            let expected = Expected::Version(record.version);
            if store.put(KIND, who, &value, ttl, expected).await?.is_some() {
                break;
            }
        }
        Ok(())
    }

    /// Forgets the attempts of one who was let in.
    pub async fn clear(&self, store: &dyn Directory, who: &str) -> Result<(), StoreError> {
        store.remove(KIND, who).await.map(drop)
    }

    /// What a person's guesses are counted under; `key` is what their session is kept under.
    pub fn of_person(key: &str) -> String {
        format!("person {key}")
    }

    /// Everybody whose attempts are counted.
    pub async fn all(store: &dyn Directory) -> Result<Vec<Tries>, StoreError> {
        let records = store.list(KIND).await?.into_iter();
        let read = records.filter_map(|(who, record)| {
            let tried: Tried = serde_json::from_slice(&record.value).ok()?;
            Some(Tries {
                who,
                attempts: tried.attempts,
                until: tried.until,
            })
        });
        Ok(read.filter(|tries| tries.attempts > 0).collect())
    }

    /// Forgets the attempts of one, whoever they are; false when there were none.
    pub async fn forget(store: &dyn Directory, who: &str) -> Result<bool, StoreError> {
        store.remove(KIND, who).await
    }

    /// Milliseconds to wait after so many attempts.
    fn after(&self, attempts: u32) -> u64 {
        let Some(beyond) = attempts.checked_sub(self.attempts) else {
            return 0;
        };
        let max = self.max.as_secs();
        let seconds = 2u64.saturating_mul(u64::from(self.multiplier).saturating_pow(beyond));
        seconds.min(max) * 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_the_longest() {
        let rate = LoginRate {
            attempts: 3,
            multiplier: 2,
            max: Duration::from_secs(300),
        };
        let waits: Vec<u64> = (1..=12)
            .map(|attempts| rate.after(attempts) / 1000)
            .collect();
        assert_eq!(waits, [0, 0, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(rate.after(u32::MAX), 300_000);
    }
}
