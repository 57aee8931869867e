//! What this replica was granted of a bucket's period, and what of it is free.
//!
//! Admission is one atomic operation on `free`. What was granted changes only in the exchange with
//! the store, which runs one at a time: so what the account has in all is known exactly, however
//! many calls take and settle meanwhile.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::channel::oneshot;
use turnpike_api::{Draw, Grant, Level, Limit, OnUnavailable, Period, Window};

use crate::book::{HAND_BACK, TICK};

/// After the store had too little, it is not asked again for as much within so many milliseconds.
/// Whoever comes meanwhile is refused at once: a crowd at a limit costs no round trips.
const DRY: u64 = 100;

/// With so few places left of a limit of running calls, or an eighth of it, a place that is free goes
/// back at the next [hand-back](crate::HAND_BACK): somebody elsewhere may be refused for want of it.
const FEW: u64 = 16;

/// So many hand-backs a call waits for before it is refused a place: what was free anywhere when it
/// came has gone back with the first of them, and is found with the second. For each that is late it
/// waits for another one, for as many at most: on a machine that stood still, many calls end at once, and
/// their places are on their way.
const HAND_BACKS: u64 = 2;

/// So many hand-backs after the store first had too few places, no replica keeps any for not knowing:
/// each has looked at its own once a [tick](TICK), asked, and handed back. Some more are for who is
/// late. It is no time, for a machine that is late with its ticks is as late with these.
pub(crate) const KNOWN: u64 = (TICK.as_millis() / HAND_BACK.as_millis()) as u64 + 3 * HAND_BACKS;

/// What a replica was granted of one bucket in one period.
pub struct Account {
    bucket: Arc<str>,
    period: Period,
    kind: Kind,
    /// Granted, and taken by nobody. Below nought when calls used more than was reserved.
    free: AtomicI64,
    /// The limit, as it was configured when somebody last took of it.
    most: AtomicU64,
    /// What nobody had been granted, as the store last said.
    left: AtomicU64,
    /// By calls that are over.
    used: AtomicU64,
    /// Of these: what the store knows.
    told: AtomicU64,
    /// What other replicas have used, as the store last said.
    elsewhere: AtomicU64,
    /// The store has said something of it.
    heard: AtomicBool,
    /// What comes back is held by a lease, and void after this time.
    held_until: AtomicU64,
    /// It is in the book's list of those that something happened to.
    stirred: AtomicBool,
    /// Few places are left, and there are others who may need one.
    tight: AtomicBool,
    /// It is in the book's list of those that something happened to while they were tight.
    hurried: AtomicBool,
    ledger: Mutex<Ledger>,
}

/// Now, by both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// By this machine's, which goes on evenly: leases and waits are measured by it.
    pub(crate) ours: u64,
    /// By the store's, as far as it is known: periods begin and end by it.
    pub(crate) stores: u64,
}

/// Hand-backs of the book that the store has answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HandBacks {
    pub(crate) all: u64,
    /// Of these: later after the one before than they should be.
    pub(crate) late: u64,
}

/// How what is taken comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Never: what a period has is used up.
    Used,
    /// When the call is over.
    Running,
    /// So many milliseconds after it was taken.
    Sliding(u64),
}

/// What only the exchange changes, and those who find nothing free.
struct Ledger {
    most: u64,
    on_unavailable: OnUnavailable,
    /// By the store, or by this replica's own share while the store was away.
    granted: u64,
    /// Of these, of what comes back: by its own share. The store has not agreed to it.
    unbacked: u64,
    /// Of the draw that is under way: what was used beyond what was granted.
    debt: u64,
    /// So much is kept free, to be spared draws.
    chunk: u64,
    /// What was taken at the last look at the pace.
    taken: u64,
    dry_until: u64,
    /// The book's hand-backs when somebody first found none, since places are few.
    none_since: Option<u64>,
    /// Until then there may be so much: it was too little for any who waited.
    rest: u64,
    /// What nobody will have been granted when the others have asked for as much as this one.
    soon: u64,
    /// The lease is asked for again from then on.
    renew_at: u64,
    /// Of those who wait, and whose need the store is not asked for yet.
    need: u64,
    /// The smallest need of any of them.
    least: u64,
    waiting: Vec<oneshot::Sender<()>>,
    /// Those whose need is in the draw that is under way. Who comes meanwhile waits for the next.
    asked_by: Vec<oneshot::Sender<()>>,
    /// Of [`Kind::Sliding`]: when what was taken comes back, in that order.
    slides: VecDeque<(u64, u64)>,
    /// That of an earlier period, until the store has granted anything of this one: a clock that is
    /// put back leads there again.
    before: Option<Arc<Account>>,
}

/// What there is for who found too little free.
pub(crate) enum Short {
    /// Something was added: take again.
    Added,
    /// The store is asked: wait, and take again.
    Wait(oneshot::Receiver<()>),
    /// The same, but it is asked with the next hand-back.
    WaitForHandBack(oneshot::Receiver<()>),
    /// There is not so much.
    Spent,
    /// The store is away, and of this replica's own share there is not so much.
    Share,
    /// The store is away, and the limit says to refuse then.
    Away,
}

impl Account {
    pub(crate) fn new(bucket: Arc<str>, limit: &Limit, period: Period) -> Self {
        Self {
            bucket,
            period,
            kind: match limit.window {
                Window::Running => Kind::Running,
                Window::Sliding(time) => Kind::Sliding(time.as_millis() as u64),
                Window::Calendar(..) | Window::Total => Kind::Used,
            },
            free: AtomicI64::new(0),
            most: AtomicU64::new(limit.most),
            left: AtomicU64::new(limit.most),
            used: AtomicU64::new(0),
            told: AtomicU64::new(0),
            elsewhere: AtomicU64::new(0),
            heard: AtomicBool::new(false),
            held_until: AtomicU64::new(0),
            stirred: AtomicBool::new(false),
            tight: AtomicBool::new(false),
            hurried: AtomicBool::new(false),
            ledger: Mutex::new(Ledger {
                most: limit.most,
                on_unavailable: limit.on_unavailable,
                granted: 0,
                unbacked: 0,
                debt: 0,
                chunk: 0,
                taken: 0,
                dry_until: 0,
                none_since: None,
                rest: 0,
                soon: 0,
                renew_at: 0,
                need: 0,
                least: 0,
                waiting: Vec::new(),
                asked_by: Vec::new(),
                slides: VecDeque::new(),
                before: None,
            }),
        }
    }

    /// That of the next period, at the pace of the one before it.
    pub(crate) fn after(before: Arc<Self>, limit: &Limit, period: Period) -> Self {
        let next = Self::new(before.bucket.clone(), limit, period);
        let (chunk, older) = {
            let mut ledger = before.lock();
            (ledger.chunk, ledger.before.take())
        };
        // Nobody goes back so far.
        drop(older);
        let mut ledger = next.lock();
        ledger.chunk = chunk;
        ledger.before = Some(before);
        drop(ledger);
        next
    }

    /// The period it is of.
    pub fn period(&self) -> Period {
        self.period
    }

    /// What may still be admitted, as far as this replica knows.
    pub fn remaining(&self) -> u64 {
        let free = self.free.load(Ordering::Relaxed);
        self.left
            .load(Ordering::Relaxed)
            .saturating_add_signed(free)
    }

    /// What all replicas have used, as far as this one knows; of running calls, how many run here.
    pub fn used(&self) -> u64 {
        match self.kind {
            Kind::Used => {
                let elsewhere = self.elsewhere.load(Ordering::Relaxed);
                elsewhere.saturating_add(self.used.load(Ordering::Relaxed))
            }
            Kind::Running | Kind::Sliding(_) => {
                let ledger = self.lock();
                let free = self.free.load(Ordering::Relaxed);
                ledger.granted.saturating_add_signed(-free)
            }
        }
    }

    /// What was granted, and what of that is free.
    pub(crate) fn leased(&self) -> (u64, i64) {
        let ledger = self.lock();
        (ledger.granted, self.free.load(Ordering::Relaxed))
    }

    /// What the store knows of what was used here; `None` = it has not answered yet.
    pub fn told(&self) -> Option<u64> {
        let is_heard = self.heard.load(Ordering::Acquire);
        is_heard.then(|| self.told.load(Ordering::Relaxed))
    }

    /// Nothing was ever granted of it: it may be replaced by one of an earlier period.
    pub(crate) fn is_pristine(&self) -> bool {
        self.free.load(Ordering::Acquire) == 0 && self.lock().granted == 0
    }

    /// The one before it, while the store has granted nothing of this one.
    pub(crate) fn before(&self) -> Option<Arc<Self>> {
        self.lock().before.clone()
    }

    /// Nothing is known of it that the store does not know, and nothing of it is needed any more.
    pub(crate) fn is_idle(&self, now: Moment) -> bool {
        let is_told = !self.stirred.load(Ordering::Acquire);
        is_told && (now.stores >= self.period.end || self.lock().granted == 0)
    }

    /// Takes over a limit that a reload has changed. Of a lower one, what was granted and is free goes
    /// back, so that the next call asks the store.
    #[inline]
    pub fn follow(&self, limit: &Limit) {
        if self.most.load(Ordering::Relaxed) == limit.most {
            return;
        }
        let mut ledger = self.lock();
        let before = self.most.swap(limit.most, Ordering::Relaxed);
        ledger.most = limit.most;
        ledger.dry_until = 0;
        if limit.most < before {
            ledger.chunk = 0;
            self.take_back(&mut ledger, u64::MAX);
            self.left.store(0, Ordering::Relaxed);
            ledger.soon = 0;
        }
    }

    /// Whether so much is free, as far as can be told without taking it.
    pub(crate) fn has(&self, units: u64, now: Moment) -> bool {
        let is_held = self.kind == Kind::Used || now.ours < self.held_until.load(Ordering::Acquire);
        is_held && self.free.load(Ordering::Acquire) >= signed(units)
    }

    /// What calls that run here have taken, and not used yet.
    pub(crate) fn running(&self) -> u64 {
        let ledger = self.lock();
        let free = self.free.load(Ordering::Relaxed);
        let taken = ledger.granted.saturating_add_signed(-free);
        match self.kind {
            Kind::Used => taken.saturating_sub(self.used.load(Ordering::Relaxed)),
            Kind::Running | Kind::Sliding(_) => taken,
        }
    }

    /// Whether there is nothing to do when something happens: it is in the book's list, and need not
    /// be in the one of those that are tight.
    pub(crate) fn is_calm(&self) -> bool {
        self.stirred.load(Ordering::Relaxed) && !self.is_tight()
    }

    /// True for the first thing that happens since the last look.
    pub(crate) fn stir(&self) -> bool {
        !self.stirred.load(Ordering::Relaxed) && !self.stirred.swap(true, Ordering::AcqRel)
    }

    /// True for the first thing that happens since the last hand-back, where places are few.
    pub(crate) fn hurry(&self) -> bool {
        self.is_tight()
            && !self.hurried.load(Ordering::Relaxed)
            && !self.hurried.swap(true, Ordering::AcqRel)
    }

    /// Takes so much of what is free, or nothing. Answers with when it slides out of the window, where
    /// it does.
    pub(crate) fn take(&self, units: u64, now: Moment) -> Option<u64> {
        match self.kind {
            Kind::Used => self.take_free(units).then_some(0),
            // What a lease held may be another's by now.
            _ if now.ours >= self.held_until.load(Ordering::Acquire) => None,
            Kind::Running => self.take_free(units).then_some(0),
            Kind::Sliding(time) => {
                let mut ledger = self.lock();
                self.slide(&mut ledger, now.ours);
                let until = now.ours + time;
                self.take_free(units).then(|| {
                    ledger.slides.push_back((until, units));
                    until
                })
            }
        }
    }

    fn take_free(&self, units: u64) -> bool {
        let units = signed(units);
        let less = |free: i64| (free >= units).then(|| free - units);
        let order = (Ordering::AcqRel, Ordering::Relaxed);
        self.free.fetch_update(order.0, order.1, less).is_ok()
    }

    /// What slid out of the window is free again.
    fn slide(&self, ledger: &mut Ledger, now: u64) {
        while let Some((until, units)) = ledger.slides.front().copied()
            && until <= now
        {
            ledger.slides.pop_front();
            self.free.fetch_add(signed(units), Ordering::AcqRel);
        }
    }

    /// Of `taken`, so much was used.
    pub(crate) fn settle(&self, taken: u64, used: u64, now: impl Fn() -> Moment) {
        match self.kind {
            Kind::Used => {
                self.used.fetch_add(used, Ordering::AcqRel);
                let back = signed(taken) - signed(used);
                self.free.fetch_add(back, Ordering::AcqRel);
            }
            Kind::Running => {
                self.free.fetch_add(signed(taken), Ordering::AcqRel);
                self.wake_one(taken);
            }
            Kind::Sliding(time) => {
                let beyond = used.saturating_sub(taken);
                if beyond > 0 {
                    let until = now().ours + time;
                    let mut ledger = self.lock();
                    self.free.fetch_sub(signed(beyond), Ordering::AcqRel);
                    ledger.slides.push_back((until, beyond));
                }
            }
        }
    }

    /// Gives back what was taken for a call that is not made.
    pub(crate) fn give_back(&self, taken: u64, until: u64) {
        match self.kind {
            Kind::Used | Kind::Running => {
                self.free.fetch_add(signed(taken), Ordering::AcqRel);
                self.wake_one(taken);
            }
            Kind::Sliding(_) => {
                let mut ledger = self.lock();
                // Once it has slid out, it is free already.
                let mut slides = ledger.slides.iter_mut().rev();
                if let Some(slide) = slides.find(|slide| **slide == (until, taken)) {
                    slide.1 = 0;
                    self.free.fetch_add(signed(taken), Ordering::AcqRel);
                }
            }
        }
    }

    /// A place came free here: whoever waits for one need not wait for the store.
    fn wake_one(&self, units: u64) {
        if !self.is_tight() {
            return;
        }
        let mut ledger = self.lock();
        let waits = match (ledger.asked_by.is_empty(), ledger.waiting.is_empty()) {
            // What the store has for them goes back with the next hand-back.
            (false, _) => ledger.asked_by.remove(0),
            (true, false) => {
                ledger.need = ledger.need.saturating_sub(units);
                ledger.waiting.remove(0)
            }
            (true, true) => return,
        };
        // Who gave up does not hear it; the place goes back with the next hand-back, too.
        let _ = waits.send(());
    }

    fn is_tight(&self) -> bool {
        self.tight.load(Ordering::Relaxed)
    }

    /// What there is to be done for a call that needs `units` and found less. `share` is the part of
    /// the limit that this replica may use by itself while the store is away: `None` = it is not. Of
    /// `hand_backs`, the first are those that there were when the call came.
    pub(crate) fn short(
        &self,
        units: u64,
        limit: &Limit,
        now: Moment,
        away: Option<u32>,
        hand_backs: [HandBacks; 2],
    ) -> Short {
        let mut ledger = self.lock();
        ledger.on_unavailable = limit.on_unavailable;
        if units > limit.most {
            return Short::Spent;
        }
        if let Some(replicas) = away {
            return self.alone(&mut ledger, units, now, replicas);
        }
        let is_dry = now.ours < ledger.dry_until && units > ledger.rest;
        if is_dry && !self.may_be_handed_back(&mut ledger, limit, hand_backs) {
            return Short::Spent;
        }
        ledger.least = match ledger.need {
            0 => units,
            _ => ledger.least.min(units),
        };
        ledger.need = ledger.need.saturating_add(units);
        if is_dry {
            return Short::WaitForHandBack(wait(&mut ledger));
        }
        // It ran dry before the next look at the pace: more is kept free from now on. What a crowd waits
        // for is its need, and all there is to it.
        if ledger.waiting.is_empty() {
            let most = (ledger.most / 4).max(1);
            ledger.chunk = ledger.chunk.saturating_mul(2).max(units).min(most);
        }
        Short::Wait(wait(&mut ledger))
    }

    /// Whether there may be a place elsewhere that a call has not waited for. Who has just run into the
    /// limit waits until all others know of it, too. But where there is another model or credential to
    /// try, that is sooner done than waited for.
    fn may_be_handed_back(
        &self,
        ledger: &mut Ledger,
        limit: &Limit,
        [came, now]: [HandBacks; 2],
    ) -> bool {
        if !self.is_tight() {
            return false;
        }
        let since = *ledger.none_since.get_or_insert(now.all);
        let is_final = !matches!(limit.level, Level::Model | Level::Credential);
        let others_may_not_know = is_final && now.all < since + KNOWN;
        let late = now.late.saturating_sub(came.late).min(HAND_BACKS);
        others_may_not_know || now.all < came.all + HAND_BACKS + late
    }

    /// Without the store: what was granted before is spent by now.
    fn alone(&self, ledger: &mut Ledger, units: u64, now: Moment, replicas: u32) -> Short {
        self.void_what_ended(ledger, now);
        let free = self.free.load(Ordering::Acquire);
        let missing = signed(units).saturating_sub(free).max(0).cast_unsigned();
        let granted = match ledger.on_unavailable {
            OnUnavailable::Allow => missing,
            OnUnavailable::Deny if self.left.load(Ordering::Relaxed) == 0 && ledger.granted > 0 => {
                return Short::Spent;
            }
            OnUnavailable::Deny => return Short::Away,
            OnUnavailable::LocalShare => {
                let share = ledger.most / u64::from(replicas.max(1));
                match ledger.granted.saturating_add(missing) <= share {
                    true => missing,
                    false if units > share => return Short::Away,
                    false => return Short::Share,
                }
            }
        };
        ledger.granted = ledger.granted.saturating_add(granted);
        self.free.fetch_add(signed(granted), Ordering::AcqRel);
        if self.kind != Kind::Used {
            ledger.unbacked = ledger.unbacked.saturating_add(granted);
            self.held_until.store(u64::MAX, Ordering::Release);
        }
        Short::Added
    }

    /// What was leased and not renewed in time may be another's, also what calls run on: they go on,
    /// and what is free falls below nought by them, until the store grants it anew or they end.
    fn void_what_ended(&self, ledger: &mut Ledger, now: Moment) {
        if self.kind != Kind::Used && now.ours >= self.held_until.load(Ordering::Acquire) {
            let granted = std::mem::take(&mut ledger.granted);
            self.free.fetch_sub(signed(granted), Ordering::AcqRel);
            ledger.unbacked = 0;
        }
    }

    /// The store is there again: what it has not agreed to is asked for.
    fn void_what_is_unbacked(&self, ledger: &mut Ledger) {
        let unbacked = std::mem::take(&mut ledger.unbacked);
        ledger.granted = ledger.granted.saturating_sub(unbacked);
        self.free.fetch_sub(signed(unbacked), Ordering::AcqRel);
    }

    /// Takes back up to `units` of what is free.
    fn take_back(&self, ledger: &mut Ledger, units: u64) {
        let mut back = 0;
        let less = |free: i64| {
            back = free.max(0).cast_unsigned().min(units);
            (back > 0).then(|| free - signed(back))
        };
        if self
            .free
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, less)
            .is_ok()
        {
            ledger.granted = ledger.granted.saturating_sub(back);
            // There is some again, and it may be asked for.
            ledger.dry_until = 0;
        }
    }

    /// Looks at the pace: about four times what was taken since the last look is kept free. What is
    /// free beyond that goes back, where others may need it.
    pub(crate) fn look(&self, now: Moment, keep: Keep) -> Look {
        self.stirred.store(false, Ordering::Release);
        let mut ledger = self.lock();
        if let Kind::Sliding(_) = self.kind {
            self.slide(&mut ledger, now.ours);
        }
        let free = self.free.load(Ordering::Acquire);
        let taken = ledger.granted.saturating_add_signed(-free);
        let pace = taken.saturating_sub(ledger.taken).saturating_mul(4);
        ledger.taken = taken;
        ledger.chunk = pace.max(ledger.chunk / 2).min(ledger.most / 4);
        let surplus = self.surplus(&mut ledger, free, keep);
        // Whether places are few by now, and who else there is by now, is known by asking alone.
        let may_be_missed = self.kind == Kind::Running && free > 0;
        let is_over = now.stores >= self.period.end;
        Look {
            // Until all of it is back where it came from.
            again: match self.kind {
                Kind::Used if keep == Keep::All => is_over && free > 0,
                Kind::Used => surplus + ledger.chunk > 0,
                Kind::Running | Kind::Sliding(_) => ledger.granted > 0,
            },
            due: self.kind == Kind::Used
                || now.ours >= ledger.renew_at
                || surplus > 0
                || may_be_missed,
        }
    }

    /// What is free beyond what is kept so.
    fn surplus(&self, ledger: &mut Ledger, free: i64, keep: Keep) -> u64 {
        let free = free.max(0).cast_unsigned();
        if let (Kind::Running | Kind::Sliding(_), Keep::Chunk { replicas }) = (self.kind, keep) {
            // How many run goes up and down, which is no pace. What all keep for that must leave as
            // much to be had: a call is refused while its place lies idle at another replica.
            let spare = ledger.soon.saturating_add(free);
            let share = spare / (2 * u64::from(replicas.max(1)));
            ledger.chunk = ledger.chunk.min(share);
        }
        free.saturating_sub(ledger.chunk)
    }

    /// Looks whether there is a place that others may need, or somebody waits for one.
    pub(crate) fn is_to_hand_back(&self, keep: Keep) -> bool {
        self.hurried.store(false, Ordering::Release);
        let mut ledger = self.lock();
        let free = self.free.load(Ordering::Acquire);
        self.surplus(&mut ledger, free, keep) > 0 || ledger.need > 0
    }

    /// What there is to say to the store.
    pub(crate) fn draw(&self, turn: u64, now: Moment, keep: Keep) -> Draw {
        let mut ledger = self.lock();
        let needed = std::mem::take(&mut ledger.need);
        let least = ledger.least.min(needed);
        let mut waiting = std::mem::take(&mut ledger.waiting);
        ledger.asked_by.append(&mut waiting);
        self.void_what_ended(&mut ledger, now);
        let is_over = now.stores >= self.period.end || keep == Keep::Nothing;
        let free = self.free.load(Ordering::Acquire).max(0).cast_unsigned();
        let keeps = match self.kind {
            _ if is_over => 0,
            Kind::Used if keep == Keep::All => u64::MAX,
            // It comes again with what it lacks, or somebody elsewhere has use for it.
            _ if free < least => 0,
            _ => ledger.chunk.saturating_add(needed),
        };
        self.take_back(&mut ledger, free.saturating_sub(keeps));
        self.void_what_is_unbacked(&mut ledger);

        let free = self.free.load(Ordering::Acquire);
        let missing = free.min(0).unsigned_abs();
        let free = free.max(0).cast_unsigned();
        // What is used is used; what runs without a slot waits for one.
        let (debt, least, need) = match (self.kind, missing) {
            (Kind::Used, _) | (_, 0) => (missing, least, needed),
            (Kind::Running | Kind::Sliding(_), _) => (0, 0, needed.saturating_add(missing)),
        };
        ledger.debt = debt;
        let least = least.saturating_sub(free);
        let need = need.saturating_sub(free);
        let chunk = ledger.chunk.saturating_sub(free);
        Draw {
            bucket: self.bucket.clone(),
            period: self.period,
            returns: self.kind != Kind::Used,
            most: ledger.most,
            turn,
            total: ledger.granted.saturating_add(ledger.debt),
            used: self.used.load(Ordering::Acquire),
            least,
            need,
            want: match is_over {
                true => need,
                false => need.saturating_add(chunk),
            },
        }
    }

    /// The store has granted what `draw` asked for, or less. What is leased is held for `lease`
    /// from the moment it was asked for.
    pub(crate) fn granted(
        &self,
        draw: &Draw,
        grant: Grant,
        sent: u64,
        now: Moment,
        lease: u64,
        keep: Keep,
    ) {
        let mut ledger = self.lock();
        self.void_what_is_unbacked(&mut ledger);
        let more = ledger.debt.saturating_add(grant.units);
        ledger.granted = ledger.granted.saturating_add(more);
        if more > 0 {
            ledger.before = None;
        }
        ledger.debt = 0;
        self.left.store(grant.left, Ordering::Relaxed);
        self.look_ahead(&mut ledger, draw, grant, keep);
        self.told.store(draw.used, Ordering::Relaxed);
        let elsewhere = grant.used.saturating_sub(draw.used);
        self.elsewhere.store(elsewhere, Ordering::Relaxed);
        self.heard.store(true, Ordering::Release);
        self.held_until.store(sent + lease, Ordering::Release);
        ledger.renew_at = sent + lease / 3;
        self.free.fetch_add(signed(more), Ordering::AcqRel);
        if grant.units < draw.need && self.period.contains(now.stores) {
            self.run_dry(&mut ledger, draw, grant, now);
        }
        // The nearer the limit, the less is kept.
        ledger.chunk = match grant.units < draw.least {
            true => 0,
            false => ledger.chunk.min(grant.left.saturating_add(grant.units)),
        };
        wake(&mut ledger.asked_by);
    }

    /// Whether places are few by now, or will be soon: a crowd comes to all replicas at once.
    fn look_ahead(&self, ledger: &mut Ledger, draw: &Draw, grant: Grant, keep: Keep) {
        let all_there_is = draw.total.saturating_add(grant.units + grant.left);
        let others = match (self.kind, keep) {
            (Kind::Running, Keep::Chunk { replicas }) => Some(u64::from(replicas.max(1)) - 1),
            // It has not heard of any, but somebody holds the rest.
            (Kind::Running, Keep::All) if all_there_is < draw.most => Some(1),
            _ => None,
        };
        let theirs = draw.need.saturating_mul(others.unwrap_or(0));
        ledger.soon = grant.left.saturating_sub(theirs);
        let is_tight = others.is_some() && ledger.soon <= FEW.max(ledger.most / 8);
        self.tight.store(is_tight, Ordering::Relaxed);
        if !is_tight {
            ledger.none_since = None;
        }
    }

    /// There was too little for all who waited. What suffices for nobody was not granted: who needs less
    /// finds it, but of running calls, of which each is one.
    fn run_dry(&self, ledger: &mut Ledger, draw: &Draw, grant: Grant, now: Moment) {
        ledger.dry_until = now.ours + DRY;
        let free = self.free.load(Ordering::Acquire).max(0).cast_unsigned();
        let sizes_differ = self.kind != Kind::Running;
        ledger.rest = match sizes_differ && grant.units == 0 && grant.left < draw.least {
            true => grant.left.saturating_add(free),
            false => 0,
        };
    }

    /// Until the store has answered, or was not reached.
    pub(crate) fn wait(&self) -> oneshot::Receiver<()> {
        wait(&mut self.lock())
    }

    /// The store was not reached: whoever waits looks what there is without it.
    pub(crate) fn not_granted(&self) {
        // It may have been taken out of the book's list.
        self.hurried.store(false, Ordering::Release);
        let mut ledger = self.lock();
        ledger.need = 0;
        wake(&mut ledger.asked_by);
        wake(&mut ledger.waiting);
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How much of what is free a replica keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// All: nobody else needs it.
    All,
    /// As much as it will soon need, of so many.
    Chunk { replicas: u32 },
    /// Nothing: the process ends.
    Nothing,
}

/// What a look at an account found.
pub(crate) struct Look {
    /// It is to be looked at again, whatever happens to it.
    pub(crate) again: bool,
    /// There is something to say to the store.
    pub(crate) due: bool,
}

fn wait(ledger: &mut Ledger) -> oneshot::Receiver<()> {
    let (sender, receiver) = oneshot::channel();
    ledger.waiting.push(sender);
    receiver
}

fn wake(waiting: &mut Vec<oneshot::Sender<()>>) {
    for waiting in waiting.drain(..) {
        // Who gave up does not hear it.
        let _ = waiting.send(());
    }
}

/// Limits are at most 2^53, and so is what a call is said to use.
fn signed(units: u64) -> i64 {
    const MOST: u64 = 1 << 53;
    units.min(MOST).cast_signed()
}
