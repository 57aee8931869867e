//! Credentials' quotas as replicas share them: what all have used is taken over here, and who used more
//! tells the others, which ask the store then. A reset is a record, and news.
//!
//! What may be used is not decided here: calls take of the bucket that the replicas draw from. This is
//! what a quota is shown as, ranked by, and known to be spent by.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use turnpike_api::{Expected, Period, Store, StoreError};
use turnpike_limits::Account;

use crate::runtime::Runtime;
use crate::upstream::{Board, Credential};

/// The kind of record that says what of a credential's quota was forgiven; its key is the credential's
/// id. News of it have this topic, and the id for a body.
pub(super) const KIND: &str = "quota";

/// News of what was used: who tells it, and of which credentials, a line each.
pub(super) const USED: &str = "quota_used";

/// How often what was used is taken over, and told.
const EVERY: Duration = Duration::from_millis(100);

/// Of more credentials than these, it is told that something changed.
const TOLD: usize = 1_000;

/// A call may outlast its period, and be settled by a replica that then restarts.
const A_DAY: u64 = 86_400_000;

/// How long a reset of what never begins anew is known.
const TEN_YEARS: Duration = Duration::from_secs(315_360_000);

/// What a reset took off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Forgiven {
    /// When the period began of which it did.
    period: u64,
    /// Of what others had used before.
    before: u64,
    /// Of what all replicas had counted.
    of_all: u64,
}

impl Forgiven {
    /// A later period's counts; of one period, the higher.
    fn and(self, other: Self) -> Self {
        match self.period.cmp(&other.period) {
            std::cmp::Ordering::Less => other,
            std::cmp::Ordering::Greater => self,
            std::cmp::Ordering::Equal => Self {
                period: self.period,
                before: self.before.max(other.before),
                of_all: self.of_all.max(other.of_all),
            },
        }
    }
}

/// What was told of which credential: the period, and how much of it.
type Told = HashMap<Arc<str>, (u64, u64)>;

/// Takes over what all use of quotas, until the process ends.
pub async fn follow(runtime: Arc<Runtime>) {
    if !runtime.is_fleet() {
        return;
    }
    let (mut told, mut epoch) = (Told::new(), runtime.limits.epoch());
    loop {
        tokio::time::sleep(EVERY).await;
        // A store that has forgotten is told again, and so is who heard it before.
        let before = std::mem::replace(&mut epoch, runtime.limits.epoch());
        if before != epoch {
            told.clear();
        }
        let news = look(&runtime, &mut told);
        if !news.is_empty() && runtime.limits.replicas() > 1 {
            let body = written(runtime.name(), &news);
            if runtime.store.post(USED, body.as_bytes()).await.is_err() {
                told.retain(|id, _| !news.contains(id));
            }
        }
    }
}

/// Looks at every quota. Answers with those of which the store has heard more from here than was told.
fn look(runtime: &Runtime, told: &mut Told) -> Vec<Arc<str>> {
    let (snapshot, book) = (runtime.snapshot(), &runtime.limits);
    let (mut news, mut changed) = (Vec::new(), false);
    for credential in snapshot.usable() {
        let Some((limit, account)) = taken(runtime, credential) else {
            continue;
        };
        credential.begin_period(book.now());
        let Some(known) = account.told() else {
            book.stirred(&account);
            continue;
        };
        let start = account.period().start;
        let allowance = &credential.standing.allowance;
        let (spent, before) = allowance.heard(start, account.used());
        changed |= (spent < limit) != (before < limit);
        let is_news = known > 0 && told.get(&credential.id) != Some(&(start, known));
        if is_news {
            told.insert(credential.id.clone(), (start, known));
            news.push(credential.id.clone());
        }
    }
    if changed {
        runtime.board.changed();
    }
    news
}

/// The limit of a quota that replicas share, and what was taken of it.
fn taken(runtime: &Runtime, credential: &Credential) -> Option<(u64, Arc<Account>)> {
    let allowance = &credential.standing.allowance;
    let (_, account) = credential.quota.taken(allowance, &runtime.limits)?;
    Some((credential.quota.limit?, account))
}

fn written(name: &str, news: &[Arc<str>]) -> String {
    let all = ["*".into()];
    let ids = match news.len() > TOLD {
        true => all.iter(),
        false => news.iter(),
    };
    let lines = ids.map(|id: &Arc<str>| &**id);
    let lines: Vec<&str> = std::iter::once(name).chain(lines).collect();
    lines.join("\n")
}

/// A replica has used more of these: the store knows what all have.
pub(super) fn hear_used(runtime: &Runtime, body: &str) {
    let mut lines = body.lines();
    if lines.next() == Some(runtime.name()) {
        return;
    }
    let ids: HashSet<&str> = lines.collect();
    let all = ids.contains("*");
    let snapshot = runtime.snapshot();
    let is_meant = |credential: &&Arc<Credential>| all || ids.contains(&*credential.id);
    inquire(runtime, snapshot.usable().filter(is_meant));
}

fn inquire<'c>(runtime: &Runtime, credentials: impl Iterator<Item = &'c Arc<Credential>>) {
    let accounts = credentials.filter_map(|credential| taken(runtime, credential));
    accounts.for_each(|(_, account)| runtime.limits.inquire(account));
}

/// Somebody's quota was reset.
pub(super) async fn hear(runtime: &Runtime, id: &str) -> Result<(), StoreError> {
    if let Some(record) = runtime.store.get(KIND, id).await? {
        take_over(&runtime.board, id, &record.value);
    }
    Ok(())
}

/// News were missed, or the store was away.
pub(super) async fn hear_all(runtime: &Runtime) -> Result<(), StoreError> {
    let records = runtime.store.list(KIND).await?;
    for (id, record) in &records {
        take_over(&runtime.board, id, &record.value);
    }
    let snapshot = runtime.snapshot();
    // What the store has lost of it, it is told again.
    let known: HashSet<&str> = records.iter().map(|(id, _)| &**id).collect();
    let is_lost = |credential: &&Arc<Credential>| !known.contains(&*credential.id);
    for credential in snapshot.usable().filter(is_lost) {
        let forgiven = credential.standing.allowance.forgiven();
        if let (Some((_, account)), Some(forgiven)) = (taken(runtime, credential), forgiven) {
            let (period, before, of_all) = forgiven;
            let forgiven = Forgiven {
                period,
                before,
                of_all,
            };
            write(runtime, &credential.id, forgiven, account.period()).await?;
        }
    }
    inquire(runtime, snapshot.usable());
    Ok(())
}

/// Takes over what was forgiven.
pub async fn restore(board: &Board, store: &dyn Store) -> Result<(), StoreError> {
    for (id, record) in store.list(KIND).await? {
        take_over(board, &id, &record.value);
    }
    Ok(())
}

fn take_over(board: &Board, id: &str, value: &[u8]) {
    let standing = board.find(id);
    // What a newer release wrote may not be read.
    let forgiven = serde_json::from_slice::<Forgiven>(value);
    if let (Some(standing), Ok(forgiven)) = (standing, forgiven) {
        let allowance = &standing.allowance;
        allowance.forgive(forgiven.period, forgiven.before, forgiven.of_all);
        board.changed();
    }
}

/// Nothing is used of the period that runs, for all replicas: calls that run are counted when they end.
pub async fn forgive(runtime: &Runtime, credential: &Credential) -> Result<(), StoreError> {
    let Some((_, account)) = taken(runtime, credential) else {
        return Ok(());
    };
    runtime.limits.inquired(&account).await;
    let start = account.period().start;
    let forgiven = Forgiven {
        period: start,
        before: credential.quota.spent_before(start),
        of_all: account.used(),
    };
    write(runtime, &credential.id, forgiven, account.period()).await?;
    runtime
        .store
        .post(KIND, credential.id.as_bytes())
        .await
        .map(drop)
}

/// Writes down what was forgiven, beside what others wrote meanwhile, and takes both over.
async fn write(
    runtime: &Runtime,
    id: &str,
    forgiven: Forgiven,
    period: Period,
) -> Result<(), StoreError> {
    let ttl = lasts(period, runtime.limits.now());
    loop {
        let found = runtime.store.get(KIND, id).await?;
        let known = found.as_ref();
        let known = known.and_then(|record| serde_json::from_slice(&record.value).ok());
        let expected = found.map_or(Expected::Absent, |record| Expected::Version(record.version));
        let forgiven = known.map_or(forgiven, |known| forgiven.and(known));
        let Ok(value) = serde_json::to_vec(&forgiven) else {
            return Ok(());
        };
        let put = runtime.store.put(KIND, id, &value, Some(ttl), expected);
        // Where it is not put, somebody else has reset it meanwhile.
        if put.await?.is_some() {
            take_over(&runtime.board, id, &value);
            return Ok(());
        }
    }
}

fn lasts(period: Period, now: u64) -> Duration {
    match period.end {
        u64::MAX => TEN_YEARS,
        end => Duration::from_millis(end.saturating_sub(now).saturating_add(A_DAY)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_resets_the_later_period_counts_and_of_one_the_higher() {
        let forgiven = |period, before, of_all| Forgiven {
            period,
            before,
            of_all,
        };
        let march = forgiven(3, 0, 50);
        assert_eq!(march.and(forgiven(2, 9, 900)), march);
        assert_eq!(forgiven(2, 9, 900).and(march), march);
        assert_eq!(march.and(forgiven(3, 4, 20)), forgiven(3, 4, 50));
    }

    #[test]
    fn many_are_told_as_all() {
        let ids =
            |count| -> Vec<Arc<str>> { (0..count).map(|n| format!("p/{n}").into()).collect() };
        assert_eq!(written("me", &ids(2)), "me\np/0\np/1");
        assert_eq!(written("me", &ids(TOLD + 1)), "me\n*");
    }
}
