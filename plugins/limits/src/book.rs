//! All buckets of this replica, and the rounds in which they are exchanged with the store.

use std::future::poll_fn;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::task::Poll;
use std::time::Duration;

use futures::channel::oneshot;
use futures::task::AtomicWaker;
use hashbrown::{DefaultHashBuilder, HashTable};
use turnpike_api::{Clock, Draw, Drawn, Limit, Measure, OnUnavailable, Window};

use crate::account::{Account, HandBacks, KNOWN, Keep, Moment, Short};
use crate::bucket::{Bucket, Key, Slot};
use crate::reservation::{Expected, Fallen, Hold, Reservation, Why};
use crate::rules::Rule;

/// How often what happened is told to the store, and the pace looked at.
pub const TICK: Duration = Duration::from_millis(250);

/// How long a place of a limit of running calls of which few are left lies idle at one replica while
/// another one may refuse a call for want of it.
pub const HAND_BACK: Duration = Duration::from_millis(10);

/// Look-ups of different callers seldom meet.
const SHARDS: usize = 32;

/// So often a call that found too little takes again: each time somebody else was quicker, or there
/// was nothing yet.
const ATTEMPTS: usize = 16 + KNOWN as usize;

/// As many buckets are told of in one round at most; the others wait for the next.
const ROUND: usize = 1024;

type Shard = RwLock<HashTable<Slot>>;

/// The buckets of this replica.
pub struct Book {
    clock: Arc<dyn Clock>,
    /// What is leased is void so many milliseconds after it was last asked for.
    lease: u64,
    hasher: DefaultHashBuilder,
    shards: [Shard; SHARDS],
    /// The store's time, less ours.
    ahead: AtomicI64,
    replicas: AtomicU32,
    /// The store has answered since the process began.
    heard: AtomicBool,
    epoch: AtomicU64,
    away: AtomicBool,
    turn: AtomicU64,
    /// Those that something happened to since the last tick.
    stirred: Mutex<Vec<Arc<Account>>>,
    /// Those that somebody waits for, or of whom there is something to tell.
    asked: Mutex<Vec<Arc<Account>>>,
    waker: AtomicWaker,
    /// Those of which few places are left, and that something happened to since the last hand-back.
    hurried: Mutex<Vec<Arc<Account>>>,
    hurry: AtomicWaker,
    /// The next round is one after a hand-back.
    handed_back: AtomicBool,
    /// Rounds after one that the store has answered.
    hand_backs: AtomicU64,
    /// Of these: late.
    late: AtomicU64,
    /// When it answered the last of them.
    handed_back_at: AtomicU64,
}

/// What a replica has drawn of limits, in the periods that run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leased {
    /// Of so many buckets.
    pub buckets: u64,
    /// From the store, or by its own share while the store was away.
    pub granted: u64,
    /// Of that, what no call has taken. Below nought where calls used more than was reserved.
    pub free: i64,
}

/// Why a call could not take what it needs. Rules are told by their place.
enum Failed {
    Fell(usize, Why),
    /// Something was added: take again.
    Added,
    /// The store is asked, first of all about this one: wait, and take again.
    Waits(usize, Vec<oneshot::Receiver<()>>),
}

/// What is to be said to the store at once. It must be [answered](Book::answered), whatever came of
/// it.
pub struct Round {
    accounts: Vec<Arc<Account>>,
    draws: Vec<Draw>,
    sent: u64,
    /// What came free before it is in it, here as elsewhere.
    after_hand_back: bool,
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
            heard: AtomicBool::new(false),
            epoch: AtomicU64::new(0),
            away: AtomicBool::new(false),
            turn: AtomicU64::new(0),
            stirred: Mutex::default(),
            asked: Mutex::default(),
            waker: AtomicWaker::new(),
            hurried: Mutex::default(),
            hurry: AtomicWaker::new(),
            handed_back: AtomicBool::new(false),
            hand_backs: AtomicU64::new(0),
            late: AtomicU64::new(0),
            handed_back_at: AtomicU64::new(0),
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
        let (bucket, _) = self.begin(self.key(rule, subject), &rule.limit, self.now());
        bucket
    }

    /// The account of a bucket's period that runs.
    pub fn account(&self, bucket: &Bucket, limit: &Limit) -> Arc<Account> {
        self.account_at(self.now(), bucket.key(), limit)
    }

    /// Inline for `take_all`, which comes here for each rule of each call.
    #[inline(always)]
    fn account_at(&self, now: u64, key: Key<'_>, limit: &Limit) -> Arc<Account> {
        let known = {
            let slots = read(self.shard(key));
            let slot = slots.find(key.hash, |slot| slot.is_of(key));
            slot.and_then(|slot| slot.running(now)).cloned()
        };
        let account = known.unwrap_or_else(|| self.begin(key, limit, now).1);
        account.follow(limit);
        account
    }

    /// Begins a bucket, or its next period, if that is still to be done.
    #[cold]
    fn begin(&self, key: Key<'_>, limit: &Limit, now: u64) -> (Arc<Bucket>, Arc<Account>) {
        let mut slots = write(self.shard(key));
        let entry = slots.entry(key.hash, |slot| slot.is_of(key), Slot::hash);
        let mut entry = entry.or_insert_with(|| Slot::new(key, limit, now));
        let slot = entry.get_mut();
        slot.roll(limit, now);
        (slot.bucket.clone(), slot.newest().clone())
    }

    fn key<'a>(&self, rule: &'a Rule, subject: &'a str) -> Key<'a> {
        Key {
            hash: self.hasher.hash_one((rule.hash(), subject)),
            rule: rule.name(),
            subject,
        }
    }

    fn shard(&self, key: Key<'_>) -> &Shard {
        // The table goes by the other end of it.
        &self.shards[(key.hash >> 16) as usize % SHARDS]
    }

    /// Takes what a call is expected to use of all these, or nothing of any.
    ///
    /// It waits for the store where what was granted does not suffice: until the round that says so is
    /// [answered](Self::answered), which whoever carries it bounds.
    pub async fn reserve(
        self: &Arc<Self>,
        rules: &[(&Rule, &str)],
        expected: Expected,
    ) -> Result<Reservation, Fallen> {
        let mut last = None;
        let came = self.hand_backs();
        for _ in 0..ATTEMPTS {
            match self.take_all(rules, expected, came) {
                Ok(holds) => return Ok(Reservation::new(self.clone(), holds)),
                Err(Failed::Fell(which, why)) => {
                    return Err(self.fallen(rules[which], expected, why));
                }
                Err(Failed::Added) => {}
                Err(Failed::Waits(which, waits)) => {
                    last = Some(which);
                    for added in waits {
                        // One that nobody answers any more is as good as an answer.
                        let _ = added.await;
                    }
                }
            }
        }
        // Others were quicker, time and again: there is next to nothing left. Only those that admit
        // anything while the store is away may be passed without having taken of them.
        let is_strict = |rule: &Rule| rule.limit.on_unavailable != OnUnavailable::Allow;
        let which = last.or_else(|| rules.iter().position(|(rule, _)| is_strict(rule)));
        match which {
            Some(which) => Err(self.fallen(rules[which], expected, Why::Spent)),
            None => Ok(Reservation::new(self.clone(), Vec::new())),
        }
    }

    /// Takes of one after the other. Where one has too little, what was taken goes back, and the store
    /// is asked for that and for all that follow which have too little.
    fn take_all(
        &self,
        rules: &[(&Rule, &str)],
        expected: Expected,
        came: HandBacks,
    ) -> Result<Vec<Hold>, Failed> {
        let now = self.moment();
        let mut holds = Vec::with_capacity(rules.len());
        for (at, &(rule, subject)) in rules.iter().enumerate() {
            let units = expected.units(&rule.limit);
            let account = self.account_at(now.stores, self.key(rule, subject), &rule.limit);
            let Some(until) = account.take(units, now) else {
                holds.iter().for_each(|hold: &Hold| {
                    hold.give_back();
                    self.stirred(&hold.account);
                });
                return Err(self.ask(at, rules, expected, now, came));
            };
            self.stirred(&account);
            holds.push(Hold {
                account,
                limit: rule.limit.clone(),
                units,
                until,
            });
        }
        Ok(holds)
    }

    /// From the one that has too little on.
    #[cold]
    fn ask(
        &self,
        first: usize,
        rules: &[(&Rule, &str)],
        expected: Expected,
        now: Moment,
        came: HandBacks,
    ) -> Failed {
        let hand_backs = [came, self.hand_backs()];
        let away = self.is_away().then(|| self.replicas());
        let mut waits = Vec::new();
        let mut added = false;
        for (at, &(rule, subject)) in rules.iter().enumerate().skip(first) {
            let units = expected.units(&rule.limit);
            let account = self.account_at(now.stores, self.key(rule, subject), &rule.limit);
            if at > first && account.has(units, now) {
                continue;
            }
            if away.is_some() && self.is_unbounded(&rule.limit) {
                return Failed::Fell(at, Why::Unheard);
            }
            match account.short(units, &rule.limit, now, away, hand_backs) {
                Short::Added => added = true,
                Short::Wait(wait) => {
                    lock(&self.asked).push(account.clone());
                    waits.push(wait);
                }
                Short::WaitForHandBack(wait) => {
                    self.hurry(&account);
                    waits.push(wait);
                }
                Short::Spent => return Failed::Fell(at, Why::Spent),
                Short::Share => return Failed::Fell(at, Why::Share),
                Short::Away => return Failed::Fell(at, Why::Away),
            }
        }
        self.waker.wake();
        match waits.is_empty() && added {
            true => Failed::Added,
            false => Failed::Waits(first, waits),
        }
    }

    /// A process that has never heard of the others takes itself for the only one. A minute's worth
    /// may pass for its share; of what is for a day it would admit all, and again after each restart.
    /// Of credentials' quotas, what is too much is the provider's to stop.
    fn is_unbounded(&self, limit: &Limit) -> bool {
        limit.on_unavailable == OnUnavailable::LocalShare
            && !limit.window.is_short()
            && limit.window.as_str() != Window::QUOTA
            && !self.heard.load(Ordering::Relaxed)
    }

    fn fallen(&self, (rule, subject): (&Rule, &str), expected: Expected, why: Why) -> Fallen {
        let account = self.account_at(self.now(), self.key(rule, subject), &rule.limit);
        let end = account.period().end;
        Fallen {
            limit: rule.limit.clone(),
            subject: subject.into(),
            why,
            remaining: account.remaining(),
            needs: expected.units(&rule.limit),
            running: account.running(),
            resets_at: (end != u64::MAX).then_some(end),
        }
    }

    /// Something happened to the account: it is told in the next round.
    #[inline]
    pub fn stirred(&self, account: &Arc<Account>) {
        // Most calls are not the first since the last tick.
        if !account.is_calm() {
            self.list(account);
        }
    }

    fn list(&self, account: &Arc<Account>) {
        if account.stir() {
            lock(&self.stirred).push(account.clone());
        }
        // Nothing goes back to a store that is away.
        if !self.is_away() && account.hurry() {
            self.hurry(account);
        }
    }

    fn hurry(&self, account: &Arc<Account>) {
        lock(&self.hurried).push(account.clone());
        self.hurry.wake();
    }

    /// Until there is something to say to the store.
    pub async fn asked(&self) {
        until_any(&self.asked, &self.waker).await;
    }

    /// Until something happens where few places are left. [`HAND_BACK`] later,
    /// [`hand_back`](Self::hand_back) is to be called.
    pub async fn hurried(&self) {
        until_any(&self.hurried, &self.hurry).await;
    }

    /// Says to the store where there is a place that others may need, and where somebody waits for
    /// one that others have handed back.
    pub fn hand_back(&self) {
        self.handed_back.store(true, Ordering::Relaxed);
        let keep = self.keep();
        let mut hurried = std::mem::take(&mut *lock(&self.hurried));
        hurried.retain(|account| account.is_to_hand_back(keep));
        lock(&self.asked).append(&mut hurried);
        self.waker.wake();
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
            let buckets = read(shard);
            all.extend(buckets.iter().map(|slot| slot.newest().clone()));
        }
        all.append(&mut lock(&self.stirred));
        all.append(&mut lock(&self.asked));
        all.append(&mut lock(&self.hurried));
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
            after_hand_back: self.handed_back.swap(false, Ordering::Relaxed),
        }
    }

    fn keep(&self) -> Keep {
        match self.replicas() {
            0 | 1 => Keep::All,
            replicas => Keep::Chunk { replicas },
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
        self.heard.store(true, Ordering::Relaxed);
        if round.after_hand_back {
            self.handed_back();
        }
        let ours = self.clock.now().cast_signed();
        let ahead = drawn.now.cast_signed().saturating_sub(ours);
        self.ahead.store(ahead, Ordering::Release);
        self.replicas
            .store(drawn.replicas.max(1), Ordering::Relaxed);
        let (now, keep) = (self.moment(), self.keep());
        for ((account, draw), grant) in round.accounts.iter().zip(&round.draws).zip(drawn.grants) {
            account.granted(draw, grant, round.sent, now, self.lease, keep);
            if account.hurry() {
                self.hurry(account);
            }
        }
        if self.epoch.swap(drawn.epoch, Ordering::AcqRel) != drawn.epoch {
            self.tell_all_again();
        }
        self.away.swap(false, Ordering::AcqRel)
    }

    /// The first one after a pause counts as late, too: a call waits for one more.
    fn handed_back(&self) {
        let now = self.clock.now();
        let before = self.handed_back_at.swap(now, Ordering::Relaxed);
        let is_late = u128::from(now.saturating_sub(before)) > 2 * HAND_BACK.as_millis();
        self.late.fetch_add(u64::from(is_late), Ordering::Relaxed);
        self.hand_backs.fetch_add(1, Ordering::Relaxed);
    }

    fn hand_backs(&self) -> HandBacks {
        HandBacks {
            all: self.hand_backs.load(Ordering::Relaxed),
            late: self.late.load(Ordering::Relaxed),
        }
    }

    /// The store has forgotten: everything is told in the next rounds, what runs and is held by a
    /// lease no later than the rest. Others may be granted it until it is said.
    fn tell_all_again(&self) {
        for shard in &self.shards {
            let buckets = read(shard);
            let accounts = buckets.iter().map(|slot| slot.newest().clone());
            lock(&self.asked).extend(accounts);
        }
        self.waker.wake();
    }

    /// Who waits for a store that is away looks what there is without it.
    fn wake_all(&self) {
        let mut waited_for = std::mem::take(&mut *lock(&self.asked));
        waited_for.append(&mut lock(&self.hurried));
        for account in waited_for {
            account.not_granted();
            self.stirred(&account);
        }
    }

    /// Which state of the store this is: another one after it has forgotten.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Relaxed)
    }

    /// Has the store asked with the next round what is used of it.
    pub fn inquire(&self, account: Arc<Account>) {
        lock(&self.asked).push(account);
        self.waker.wake();
    }

    /// The same, and waits until it has answered or could not be reached.
    pub async fn inquired(&self, account: &Arc<Account>) {
        let answered = account.wait();
        self.inquire(account.clone());
        // One that nobody answers any more is as good as an answer.
        let _ = answered.await;
    }

    /// Looks at every bucket: its rule's name, its subject, its newest account.
    pub fn each(&self, mut look: impl FnMut(&Arc<str>, &str, &Arc<Account>)) {
        for shard in &self.shards {
            let buckets = read(shard);
            for slot in buckets.iter() {
                look(&slot.bucket.rule, &slot.bucket.subject, slot.newest());
            }
        }
    }

    /// What is drawn of all limits of each measure, for metrics.
    pub fn leased(&self) -> [(Measure, Leased); Measure::ALL.len()] {
        let now = self.now();
        let mut all = Measure::ALL.map(|measure| (measure, Leased::default()));
        for shard in &self.shards {
            let buckets = read(shard);
            for slot in buckets.iter() {
                let account = slot.newest();
                let of = all.iter_mut().find(|(measure, _)| *measure == slot.measure);
                if let Some((_, sum)) = of
                    && now < account.period().end
                {
                    let (granted, free) = account.leased();
                    sum.buckets += 1;
                    sum.granted = sum.granted.saturating_add(granted);
                    sum.free = sum.free.saturating_add(free);
                }
            }
        }
        all
    }

    /// Lets go of buckets that nothing is known of any more but that they are empty.
    pub fn sweep(&self) {
        let now = self.moment();
        for shard in &self.shards {
            let mut buckets = write(shard);
            buckets.retain(|slot| {
                let (bucket, account) = (&slot.bucket, slot.newest());
                // Who has either of them is about to use it.
                let is_used = Arc::strong_count(bucket) > 1 || Arc::strong_count(account) > 1;
                is_used || !account.is_idle(now)
            });
        }
    }
}

async fn until_any<T>(list: &Mutex<Vec<T>>, waker: &AtomicWaker) {
    poll_fn(|context| {
        waker.register(context.waker());
        match lock(list).is_empty() {
            true => Poll::Pending,
            false => Poll::Ready(()),
        }
    })
    .await;
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read(shard: &Shard) -> RwLockReadGuard<'_, HashTable<Slot>> {
    shard.read().unwrap_or_else(PoisonError::into_inner)
}

fn write(shard: &Shard) -> RwLockWriteGuard<'_, HashTable<Slot>> {
    shard.write().unwrap_or_else(PoisonError::into_inner)
}
