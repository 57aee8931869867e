//! All buckets of this replica, and the rounds in which they are exchanged with the store.

use std::future::poll_fn;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::task::Poll;
use std::time::Duration;

use futures::task::AtomicWaker;
use hashbrown::{DefaultHashBuilder, HashTable};
use turnpike_api::{Clock, Draw, Drawn, Limit};

use crate::account::{Account, Keep, Moment, Short};
use crate::bucket::Bucket;
use crate::reservation::{Expected, Fallen, Hold, Reservation, Why};
use crate::rules::Rule;

/// How often what happened is told to the store, and the pace looked at.
pub const TICK: Duration = Duration::from_millis(250);

/// Look-ups of different callers seldom meet.
const SHARDS: usize = 32;

/// So often a call that found too little takes again: each time somebody else was quicker.
const ATTEMPTS: usize = 16;

/// As many buckets are told of in one round at most; the others wait for the next.
const ROUND: usize = 1024;

/// The buckets of this replica.
pub struct Book {
    clock: Arc<dyn Clock>,
    /// What is leased is void so many milliseconds after it was last asked for.
    lease: u64,
    hasher: DefaultHashBuilder,
    shards: [RwLock<HashTable<Slot>>; SHARDS],
    /// The store's time, less ours.
    ahead: AtomicI64,
    replicas: AtomicU32,
    epoch: AtomicU64,
    away: AtomicBool,
    turn: AtomicU64,
    /// Those that something happened to since the last tick.
    stirred: Mutex<Vec<Arc<Account>>>,
    /// Those that somebody waits for, or of whom there is something to tell.
    asked: Mutex<Vec<Arc<Account>>>,
    waker: AtomicWaker,
}

/// A bucket, by its rule's name and its subject.
struct Slot {
    rule: Arc<str>,
    subject: Box<str>,
    bucket: Arc<Bucket>,
}

impl Slot {
    fn is_of(&self, rule: &str, subject: &str) -> bool {
        *self.subject == *subject && *self.rule == *rule
    }
}

/// What is to be said to the store at once. It must be [answered](Book::answered), whatever came of
/// it.
pub struct Round {
    accounts: Vec<Arc<Account>>,
    draws: Vec<Draw>,
    sent: u64,
}

impl Round {
    /// What to say.
    pub fn draws(&self) -> &[Draw] {
        &self.draws
    }
}

impl Book {
    /// Without buckets. What is leased by it is void `lease` after it was last asked for.
    pub fn new(clock: Arc<dyn Clock>, lease: Duration) -> Self {
        Self {
            clock,
            lease: u64::try_from(lease.as_millis()).unwrap_or(u64::MAX),
            hasher: DefaultHashBuilder::default(),
            shards: std::array::from_fn(|_| RwLock::new(HashTable::new())),
            ahead: AtomicI64::new(0),
            replicas: AtomicU32::new(1),
            epoch: AtomicU64::new(0),
            away: AtomicBool::new(false),
            turn: AtomicU64::new(0),
            stirred: Mutex::default(),
            asked: Mutex::default(),
            waker: AtomicWaker::new(),
        }
    }

    /// The store's time, in milliseconds since 1970.
    pub fn now(&self) -> u64 {
        self.moment().stores
    }

    pub(crate) fn moment(&self) -> Moment {
        let ours = self.clock.now();
        let ahead = self.ahead.load(Ordering::Relaxed);
        let stores = ours.saturating_add_signed(ahead);
        Moment { ours, stores }
    }

    /// How many replicas there are, as the store last said.
    pub fn replicas(&self) -> u32 {
        self.replicas.load(Ordering::Relaxed)
    }

    /// Whether the store is away.
    pub fn is_away(&self) -> bool {
        self.away.load(Ordering::Relaxed)
    }

    /// The bucket of a rule and a subject.
    pub fn bucket(&self, rule: &Rule, subject: &str) -> Arc<Bucket> {
        let hash = self.hasher.hash_one((&**rule.name(), subject));
        // The table goes by the other end of it.
        let shard = &self.shards[(hash >> 16) as usize % SHARDS];
        let is_it = |slot: &Slot| slot.is_of(rule.name(), subject);
        let known = shard.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = known.find(hash, is_it) {
            return slot.bucket.clone();
        }
        drop(known);
        let mut buckets = shard.write().unwrap_or_else(PoisonError::into_inner);
        let rehash = |slot: &Slot| self.hasher.hash_one((&*slot.rule, &*slot.subject));
        let entry = buckets.entry(hash, is_it, rehash);
        let slot = entry.or_insert_with(|| {
            let name = format!("{}{subject}", rule.name()).into();
            Slot {
                rule: rule.name().clone(),
                subject: subject.into(),
                bucket: Arc::new(Bucket::new(name, &rule.limit, self.now())),
            }
        });
        slot.get().bucket.clone()
    }

    /// Takes what a call is expected to use of all these, or nothing of any.
    ///
    /// It waits for the store where what was granted does not suffice; the caller bounds how long.
    pub async fn reserve(
        self: &Arc<Self>,
        rules: &[(&Rule, &str)],
        expected: Expected,
    ) -> Result<Reservation, Fallen> {
        for _ in 0..ATTEMPTS {
            let mut holds = Vec::with_capacity(rules.len());
            let Some(short) = self.take_all(rules, expected, &mut holds) else {
                return Ok(Reservation::new(self.clone(), holds));
            };
            holds.iter().for_each(|hold| {
                hold.account.give_back(hold.units);
                self.stirred(&hold.account);
            });
            match short.1 {
                Short::Added => {}
                Short::Wait(added) => {
                    let _ = added.await;
                }
                Short::Spent => return Err(self.fallen(short.0, Why::Spent)),
                Short::Away => return Err(self.fallen(short.0, Why::Away)),
            }
        }
        // Others were quicker, time and again: there is next to nothing left.
        match rules.first() {
            Some(first) => Err(self.fallen(*first, Why::Spent)),
            None => Ok(Reservation::new(self.clone(), Vec::new())),
        }
    }

    /// Takes of one after the other; answers with the first that has too little.
    fn take_all<'r>(
        &self,
        rules: &[(&'r Rule, &'r str)],
        expected: Expected,
        holds: &mut Vec<Hold>,
    ) -> Option<((&'r Rule, &'r str), Short)> {
        let now = self.moment();
        for (rule, subject) in rules {
            let units = expected.units(&rule.limit);
            let bucket = self.bucket(rule, subject);
            let account = bucket.account(&rule.limit, now.stores);
            if account.take(units, now) {
                self.stirred(&account);
                holds.push(Hold {
                    account: account.clone(),
                    limit: rule.limit.clone(),
                    units,
                });
                continue;
            }
            let short = self.short(&account, units, &rule.limit, now);
            return Some(((*rule, *subject), short));
        }
        None
    }

    #[cold]
    fn short(&self, account: &Arc<Account>, units: u64, limit: &Limit, now: Moment) -> Short {
        let away = self.is_away().then(|| self.replicas());
        let short = account.short(units, limit, now, away);
        if let Short::Wait(_) = short {
            lock(&self.asked).push(account.clone());
            self.waker.wake();
        }
        short
    }

    fn fallen(&self, (rule, subject): (&Rule, &str), why: Why) -> Fallen {
        let bucket = self.bucket(rule, subject);
        let account = bucket.account(&rule.limit, self.now());
        let end = account.period().end;
        Fallen {
            limit: rule.limit.clone(),
            subject: subject.into(),
            why,
            remaining: account.remaining(),
            resets_at: (end != u64::MAX).then_some(end),
        }
    }

    /// Something happened to the account: it is told in the next round.
    pub(crate) fn stirred(&self, account: &Arc<Account>) {
        if account.stir() {
            lock(&self.stirred).push(account.clone());
        }
    }

    /// Until there is something to say to the store.
    pub async fn asked(&self) {
        poll_fn(|context| {
            self.waker.register(context.waker());
            match lock(&self.asked).is_empty() {
                true => Poll::Pending,
                false => Poll::Ready(()),
            }
        })
        .await;
    }

    /// Looks at those that something happened to since it last did: what there is to tell of them
    /// is due. To be called every [`TICK`].
    pub fn tick(&self) {
        let (keep, now) = (self.keep(), self.moment());
        let stirred = std::mem::take(&mut *lock(&self.stirred));
        for account in stirred {
            let look = account.look(now, keep);
            if look.again {
                self.stirred(&account);
            }
            if look.due {
                lock(&self.asked).push(account);
            }
        }
        self.waker.wake();
    }

    /// What is waited for, and what is due; where that is much, the first of it.
    pub fn round(&self) -> Round {
        let accounts = {
            let mut asked = lock(&self.asked);
            let most = asked.len().min(ROUND);
            asked.drain(..most).collect()
        };
        self.say(accounts, self.keep())
    }

    /// All there is, with nothing kept: the process ends.
    pub fn close(&self) -> Round {
        let mut all = Vec::new();
        for shard in &self.shards {
            let buckets = shard.read().unwrap_or_else(PoisonError::into_inner);
            all.extend(buckets.iter().map(|slot| slot.bucket.newest().clone()));
        }
        all.append(&mut lock(&self.stirred));
        self.say(all, Keep::Nothing)
    }

    fn say(&self, mut accounts: Vec<Arc<Account>>, keep: Keep) -> Round {
        accounts.sort_by_key(Arc::as_ptr);
        accounts.dedup_by(|one, other| Arc::ptr_eq(one, other));
        let now = self.moment();
        let draw = |account: &Arc<Account>| {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed) + 1;
            account.draw(turn, now, keep)
        };
        let draws = accounts.iter().map(draw).collect();
        Round {
            accounts,
            draws,
            sent: now.ours,
        }
    }

    fn keep(&self) -> Keep {
        match self.replicas() > 1 {
            true => Keep::Chunk,
            false => Keep::All,
        }
    }

    /// What the store answered; `None` = it was not reached in time. True when that changes anything
    /// in whether it is away.
    pub fn answered(&self, round: Round, drawn: Option<Drawn>) -> bool {
        let Some(drawn) = drawn.filter(|drawn| drawn.grants.len() == round.draws.len()) else {
            let changed = !self.away.swap(true, Ordering::AcqRel);
            for account in &round.accounts {
                account.not_granted();
                self.stirred(account);
            }
            self.wake_all();
            return changed;
        };
        let ours = self.clock.now().cast_signed();
        let ahead = drawn.now.cast_signed().saturating_sub(ours);
        self.ahead.store(ahead, Ordering::Release);
        self.replicas
            .store(drawn.replicas.max(1), Ordering::Relaxed);
        let now = self.moment();
        for ((account, draw), grant) in round.accounts.iter().zip(&round.draws).zip(drawn.grants) {
            account.granted(draw, grant, round.sent, now, self.lease);
        }
        if self.epoch.swap(drawn.epoch, Ordering::AcqRel) != drawn.epoch {
            self.tell_all_again();
        }
        self.away.swap(false, Ordering::AcqRel)
    }

    /// The store has forgotten: everything is told in the next round.
    fn tell_all_again(&self) {
        for shard in &self.shards {
            let buckets = shard.read().unwrap_or_else(PoisonError::into_inner);
            let accounts = buckets.iter().map(|slot| slot.bucket.newest().clone());
            accounts.for_each(|account| self.stirred(&account));
        }
    }

    /// Who waits for a store that is away looks what there is without it.
    fn wake_all(&self) {
        for account in std::mem::take(&mut *lock(&self.asked)) {
            account.not_granted();
        }
    }

    /// Looks at every bucket: its rule's name, its subject, its newest account.
    pub fn each(&self, mut look: impl FnMut(&Arc<str>, &str, &Arc<Account>)) {
        for shard in &self.shards {
            let buckets = shard.read().unwrap_or_else(PoisonError::into_inner);
            for slot in buckets.iter() {
                look(&slot.rule, &slot.subject, &slot.bucket.newest());
            }
        }
    }

    /// Lets go of buckets that nothing is known of any more but that they are empty.
    pub fn sweep(&self) {
        let now = self.moment();
        for shard in &self.shards {
            let mut buckets = shard.write().unwrap_or_else(PoisonError::into_inner);
            buckets.retain(|slot| {
                let bucket = &slot.bucket;
                // Who has either of them is about to use it.
                let is_used = |account: &Arc<Account>| Arc::strong_count(account) > 1;
                let account = bucket.newest();
                Arc::strong_count(bucket) > 1 || is_used(&account) || !account.is_idle(now)
            });
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
