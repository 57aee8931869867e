//! What survives the process of how credentials stand: read before they are used, written as it
//! changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::{TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use turnpike_api::{Clock, Expected, Fault, Store, StoreError};
use turnpike_credentials::Cooldown;

use crate::observe::events::StoreFailed;
use crate::runtime::Runtime;
use crate::upstream::credential::Credential;
use crate::upstream::standing::Cooldowns;
use crate::upstream::{Board, Holder};

/// The kind of record that holds a credential's cooldowns; its key is the credential's id. News of
/// it have this topic, and the id for a body.
pub(super) const KIND: &str = "cooldown";

/// As many accounts are asked for at once.
const AT_ONCE: usize = 256;

/// After a store's failure.
const AGAIN: Duration = Duration::from_secs(1);

/// A credential's cooldowns as they are kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    holder: Holder,
    #[serde(skip_serializing_if = "Option::is_none")]
    whole: Option<KeptCooldown>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    models: BTreeMap<Box<str>, KeptCooldown>,
}

/// Times are milliseconds since 1970.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct KeptCooldown {
    #[serde(with = "fault")]
    fault: Fault,
    since: u64,
    until: u64,
    level: u32,
    #[serde(default)]
    misjudged: bool,
}

mod fault {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};
    use turnpike_api::Fault;

    pub(super) fn serialize<S: Serializer>(fault: &Fault, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(fault.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Fault, D::Error> {
        let word = <&str>::deserialize(from)?;
        let known = Fault::ALL.into_iter().find(|fault| fault.as_str() == word);
        known.ok_or_else(|| D::Error::custom("an unknown fault"))
    }
}

impl From<Cooldown> for KeptCooldown {
    fn from(cooldown: Cooldown) -> Self {
        let Cooldown {
            fault,
            since,
            until,
            level,
            misjudged,
            probing: _,
        } = cooldown;
        Self {
            fault,
            since,
            until,
            level,
            misjudged,
        }
    }
}

impl From<KeptCooldown> for Cooldown {
    fn from(kept: KeptCooldown) -> Self {
        Self {
            fault: kept.fault,
            since: kept.since,
            until: kept.until,
            level: kept.level,
            misjudged: kept.misjudged,
            // Whoever tried it is gone.
            probing: 0,
        }
    }
}

impl Kept {
    fn of(holder: Holder, cooldowns: &Cooldowns) -> Self {
        let models = cooldowns.models.iter();
        Self {
            holder,
            whole: cooldowns.whole.map(Into::into),
            models: models
                .map(|(name, cooldown)| (name.clone(), (*cooldown).into()))
                .collect(),
        }
    }

    fn read(value: &[u8]) -> Option<(Holder, Cooldowns)> {
        let kept: Self = serde_json::from_slice(value).ok()?;
        let models = kept.models.into_iter();
        let cooldowns = Cooldowns {
            whole: kept.whole.map(Into::into),
            models: models
                .map(|(name, cooldown)| (name, cooldown.into()))
                .collect(),
        };
        Some((kept.holder, cooldowns))
    }

    /// When the last of them ends.
    fn end(&self) -> u64 {
        let models = self.models.values();
        let ends = models.chain(&self.whole).map(|cooldown| cooldown.until);
        ends.max().unwrap_or(0)
    }
}

/// Takes over the cooldowns of the process before, for the credentials that are made next. What
/// cannot be read is left out: a release that is older than the one that wrote it.
pub async fn restore(board: &Board, store: &dyn Store) -> Result<(), StoreError> {
    for (id, record) in store.list(KIND).await? {
        if let Some((holder, cooldowns)) = Kept::read(&record.value) {
            let standing = board.standing(&id.into(), holder);
            standing.reconcile(cooldowns);
            board.enter(&standing);
        }
    }
    Ok(())
}

/// Finds out what was used of the running periods, of those credentials of which that is not known
/// yet: all at start, the new ones at a reload.
pub async fn open_accounts(
    credentials: impl IntoIterator<Item = &Arc<Credential>>,
    board: &Board,
    store: &dyn Store,
) -> Result<(), StoreError> {
    let now = board.time.now();
    let unknown = credentials.into_iter().filter_map(|credential| {
        let period = credential.quota.schedule.period(now);
        let running = credential.standing.allowance.running();
        let is_known = running.end != 0 && running.start == period.start_ms;
        (!is_known).then_some((credential, period))
    });
    // A store answers many that ask at once with little more work than one.
    stream::iter(unknown.map(Ok::<_, StoreError>))
        .try_for_each_concurrent(AT_ONCE, |(credential, period)| async move {
            let spent = store.spent(&credential.id, period.start_ms).await?;
            let before = credential.quota.spent_before(period.start_ms);
            credential.standing.allowance.begin(
                period.start_ms,
                period.end_ms.unwrap_or(u64::MAX),
                spent.tokens,
                before,
            );
            Ok(())
        })
        .await?;
    board.changed();
    Ok(())
}

/// Writes cooldowns down as they change, until the process ends.
pub async fn keep(runtime: Arc<Runtime>) {
    let board = &runtime.board;
    let mut is_failing = false;
    loop {
        let mut pending = Pending {
            board,
            ids: board.unwritten().await,
        };
        while let Some(id) = pending.ids.first().cloned() {
            let written = write(&runtime, &id).await;
            if let Err(error) = &written {
                // Told once: a store that is away is asked every second.
                if !is_failing {
                    tell_failed(error, &runtime);
                }
                is_failing = true;
                drop(pending);
                tokio::time::sleep(AGAIN).await;
                break;
            }
            is_failing = false;
            pending.ids.remove(&id);
        }
    }
}

fn tell_failed(error: &StoreError, runtime: &Runtime) {
    let (what, metrics) = ("cooldown", &runtime.metrics);
    StoreFailed {
        what,
        error,
        metrics,
    }
    .tell();
}

/// Cooldowns that are being written down. What is not when this ends is to be written again.
struct Pending<'b> {
    board: &'b Board,
    ids: BTreeSet<Arc<str>>,
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.board.still_unwritten(std::mem::take(&mut self.ids));
    }
}

/// Writes down what is not yet: the process ends.
pub async fn flush(runtime: &Runtime) {
    for id in runtime.board.take_unwritten() {
        if let Err(error) = &write(runtime, &id).await {
            tell_failed(error, runtime);
        }
    }
}

/// Writes down what changed of one credential, beside what others wrote meanwhile.
async fn write(runtime: &Runtime, id: &str) -> Result<(), StoreError> {
    let Some(standing) = runtime.board.find(id) else {
        return Ok(());
    };
    // In a fleet the others have to hear that there is none any more.
    if !runtime.is_fleet() && standing.cooldowns().is_empty() {
        return runtime.store.remove(KIND, id).await.map(drop);
    }
    loop {
        let found = runtime.store.get(KIND, id).await?;
        let expected = match &found {
            Some(record) => Expected::Version(record.version),
            None => Expected::Absent,
        };
        let theirs = found.and_then(|record| Kept::read(&record.value));
        let theirs = theirs.filter(|(holder, _)| *holder == standing.holder);
        let theirs = theirs.map(|(_, cooldowns)| cooldowns);
        let theirs = theirs.unwrap_or_else(|| {
            // What the store has lost is not over.
            standing.is_stored(Cooldowns::default());
            Cooldowns::default()
        });
        let reconciled = standing.reconcile(theirs);
        if reconciled.changed {
            runtime.board.changed();
        }
        let Some(cooldowns) = reconciled.to_write else {
            return Ok(());
        };
        let kept = Kept::of(standing.holder, &cooldowns);
        let Ok(value) = serde_json::to_vec(&kept) else {
            return Ok(());
        };
        let ttl = Some(lasts(runtime, &kept));
        let put = runtime.store.put(KIND, id, &value, ttl, expected).await?;
        // Where it is not put, somebody else has written meanwhile.
        if put.is_some() {
            standing.is_stored(cooldowns);
            return tell(runtime, id).await;
        }
    }
}

/// A cooldown's level counts until another window of the longest kind would have forgotten it. That
/// there is none any more has to be heard of.
fn lasts(runtime: &Runtime, kept: &Kept) -> Duration {
    let left = kept.end().saturating_sub(runtime.board.time.now());
    Duration::from_millis(left) + runtime.snapshot().back_off.max.max(AGAIN)
}

/// Tells the other replicas.
async fn tell(runtime: &Runtime, id: &str) -> Result<(), StoreError> {
    match runtime.is_fleet() {
        true => runtime.store.post(KIND, id.as_bytes()).await.map(drop),
        false => Ok(()),
    }
}

/// Another replica wrote down how a credential stands.
pub(super) async fn hear(runtime: &Runtime, id: &str) -> Result<(), StoreError> {
    if let Some(record) = runtime.store.get(KIND, id).await? {
        take_over(runtime, id, &record.value);
    }
    Ok(())
}

/// Brings everything together that replicas know of credentials: news were missed, or the store
/// has lost something, or was away.
pub(super) async fn hear_all(runtime: &Runtime) -> Result<(), StoreError> {
    for (id, record) in runtime.store.list(KIND).await? {
        take_over(runtime, &id, &record.value);
    }
    // What the store has lost of it, it is told again.
    let standings = runtime.board.standings().into_iter();
    for standing in standings.filter(|standing| !standing.cooldowns().is_empty()) {
        runtime.board.cooldowns_changed(&standing);
    }
    Ok(())
}

/// What another secret earned says nothing of the one that is in force here.
fn take_over(runtime: &Runtime, id: &str, value: &[u8]) {
    let board = &runtime.board;
    let Some((holder, theirs)) = Kept::read(value) else {
        return;
    };
    match board.find(id) {
        Some(standing) if standing.holder == holder => {
            let reconciled = standing.reconcile(theirs);
            if reconciled.to_write.is_some() {
                board.cooldowns_changed(&standing);
            } else if reconciled.changed {
                board.changed();
            }
        }
        Some(_) => {}
        None => {
            let standing = board.standing(&id.into(), holder);
            standing.reconcile(theirs);
            board.enter(&standing);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_back() {
        let cooldown = |fault, until| Cooldown {
            fault,
            since: 5,
            until,
            level: 3,
            probing: 0,
            misjudged: true,
        };
        let cooldowns = Cooldowns {
            whole: Some(cooldown(Fault::PaymentRequired, 70)),
            models: Fault::ALL
                .map(|fault| (fault.as_str().into(), cooldown(fault, 9)))
                .into(),
        };
        let holder = Holder::of_key(b"key");
        let kept = Kept::of(holder, &cooldowns);
        assert_eq!(kept.end(), 70);
        let read = Kept::read(&serde_json::to_vec(&kept).unwrap());
        let (read_holder, mut read) = read.unwrap();
        assert_eq!(read_holder, holder);
        assert_eq!(read.models.len(), Fault::ALL.len());
        let order = |fault: Fault| Fault::ALL.iter().position(|known| *known == fault);
        read.models
            .sort_by_key(|(_, cooldown)| order(cooldown.fault));
        assert_eq!(read, cooldowns);
        assert!(
            Kept::read(br#"{"holder":{"account":1,"secret":1},"whole":{"fault":"odd","since":1,"until":2,"level":0}}"#).is_none()
        );
    }
}
