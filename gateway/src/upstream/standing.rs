//! How a credential stands: what it may not do for a while, and what of its quota is left. It
//! outlives the configuration that names the credential, and ends with its secret.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use turnpike_api::{Fault, Hint};
use turnpike_credentials::{BackOff, Cooldown, Phase};

use super::Holder;
use super::allowance::Allowance;
use super::reconcile;

/// As many models of one credential may cool at once: callers choose their names. The one that is
/// back first gives way.
pub(super) const MODELS: usize = 64;

/// One credential's.
pub struct Standing {
    pub id: Arc<str>,
    pub holder: Holder,
    /// How many cooldowns there are. Nearly always none, which is told without a lock.
    troubles: AtomicUsize,
    cooldowns: Mutex<Cooldowns>,
    /// What the store has of them, as far as is known.
    stored: Mutex<Cooldowns>,
    /// The credential's, whoever holds it.
    pub allowance: Arc<Allowance>,
}

/// What a credential is not asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cooldowns {
    /// Anything.
    pub whole: Option<Cooldown>,
    /// A model, by its name at the provider.
    pub models: Vec<(Box<str>, Cooldown)>,
}

/// What came of bringing what is known here and what the store has together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reconciled {
    /// Something is new here.
    pub changed: bool,
    /// Something is new for the store: this is what it is to have.
    pub to_write: Option<Cooldowns>,
}

/// What a fault is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Credential,
    Model,
}

/// Whether a credential may be asked for a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    Ready,
    /// One call may try it.
    Due,
    /// Not before this time, for this reason.
    Cooling(u64, Fault),
    /// The call that tries it is under way, and waited for until this time.
    Probing(u64, Fault),
}

/// A call that failed.
#[derive(Clone, Copy)]
pub struct Failure<'a> {
    /// The model's name at the provider.
    pub model: &'a str,
    pub began: u64,
    pub now: u64,
    pub fault: Fault,
    pub hint: Hint,
    /// It was the call that tries whether a cooldown is over: its mark.
    pub probe: Option<u64>,
}

impl Standing {
    pub fn new(id: Arc<str>, holder: Holder) -> Self {
        Self {
            id,
            holder,
            troubles: AtomicUsize::new(0),
            cooldowns: Mutex::default(),
            stored: Mutex::default(),
            allowance: Arc::default(),
        }
    }

    /// That of another secret in the place of this one. What was wrong with the old one is over; a
    /// limit of the same account's is not.
    pub fn successor(&self, holder: Holder) -> Self {
        let mut kept = Cooldowns::default();
        if holder.is_account_of(self.holder) {
            kept = self.cooldowns();
            let stays = |cooldown: &Cooldown| {
                matches!(cooldown.fault, Fault::RateLimited | Fault::PaymentRequired)
            };
            kept.whole = kept.whole.filter(stays).map(Cooldown::unprobed);
            kept.models.retain(|(_, cooldown)| stays(cooldown));
            let models = kept.models.iter_mut();
            models.for_each(|(_, cooldown)| *cooldown = cooldown.unprobed());
        }
        let successor = Self {
            allowance: self.allowance.clone(),
            ..Self::new(self.id.clone(), holder)
        };
        successor.restore(kept);
        successor
    }

    /// Whether it may be asked for `model` now.
    pub fn readiness(&self, model: &str, now: u64) -> Readiness {
        if self.troubles.load(Ordering::Acquire) == 0 {
            return Readiness::Ready;
        }
        self.lock().readiness(model, now)
    }

    /// Takes it for a call: `Some(true)` when the call is the one that tries whether a cooldown is
    /// over, and is waited for until `patience`; `None` when it may not be asked.
    pub fn take(&self, model: &str, now: u64, patience: u64) -> Option<bool> {
        if self.troubles.load(Ordering::Acquire) == 0 {
            return Some(false);
        }
        let mut cooldowns = self.lock();
        match cooldowns.readiness(model, now) {
            Readiness::Ready => Some(false),
            Readiness::Due => {
                cooldowns.each_of(model, |cooldown| {
                    cooldown.probed(now, patience).unwrap_or(cooldown)
                });
                Some(true)
            }
            Readiness::Cooling(..) | Readiness::Probing(..) => None,
        }
    }

    /// A call that began at `began` served: what was wrong before it is over. What went wrong in the
    /// same millisecond did so after it began: nobody begins while a credential cools. True when something
    /// was.
    pub fn served(&self, model: &str, began: u64) -> bool {
        if self.troubles.load(Ordering::Acquire) == 0 {
            return false;
        }
        let mut cooldowns = self.lock();
        let before = cooldowns.len();
        let is_over = |cooldown: &Cooldown| cooldown.since < began;
        cooldowns.whole = cooldowns.whole.filter(|cooldown| !is_over(cooldown));
        cooldowns
            .models
            .retain(|(name, cooldown)| &**name != model || !is_over(cooldown));
        self.count(&cooldowns);
        cooldowns.len() < before
    }

    /// A call failed. Answers with the cooldown that is in force for it now, if there is one.
    pub fn failed(&self, failure: Failure<'_>, policy: &BackOff) -> Option<(Scope, Cooldown)> {
        let mut cooldowns = self.lock();
        // The probe's verdict on the model is none on the whole, or the other way round: that waits
        // for another call. A call that began before the probe says nothing of how it will end.
        if let Some(mark) = failure.probe {
            cooldowns.unprobed(failure.model, mark);
        }
        let scope = scope(failure.fault, failure.hint);
        let current = match scope {
            Scope::Credential => cooldowns.whole,
            Scope::Model => cooldowns.of_model(failure.model).copied(),
        };
        let Failure { began, now, .. } = failure;
        let next = policy.after(current, began, now, failure.fault, failure.hint)?;
        match scope {
            Scope::Credential => cooldowns.whole = Some(next),
            Scope::Model if !cooldowns.set_model(failure.model, next) => return None,
            Scope::Model => {}
        }
        self.count(&cooldowns);
        Some((scope, next))
    }

    /// The call that was to try it ended without a verdict. Another one may be trying meanwhile:
    /// `mark` tells them apart.
    pub fn undecided(&self, model: &str, mark: u64) {
        self.lock().unprobed(model, mark);
    }

    /// Lets go of cooldowns that ended so long ago that they say nothing of the next.
    pub fn sweep(&self, now: u64, policy: &BackOff) {
        if self.troubles.load(Ordering::Acquire) == 0 {
            return;
        }
        let mut cooldowns = self.lock();
        cooldowns.whole = cooldowns
            .whole
            .filter(|cooldown| !policy.is_forgotten(cooldown, now));
        cooldowns
            .models
            .retain(|(_, cooldown)| !policy.is_forgotten(cooldown, now));
        self.count(&cooldowns);
    }

    /// What there is to be probed early, without a cost: the models, and `None` for all of it.
    pub fn probed_early(&self, now: u64) -> Vec<Option<Box<str>>> {
        if self.troubles.load(Ordering::Acquire) == 0 {
            return Vec::new();
        }
        let is_probed = |cooldown: &Cooldown| {
            cooldown.is_probed_early() && matches!(cooldown.phase(now), Phase::Cooling(_))
        };
        let cooldowns = self.lock();
        let whole = cooldowns.whole.filter(is_probed).map(|_| None);
        let models = cooldowns.models.iter();
        let models = models.filter(|(_, cooldown)| is_probed(cooldown));
        whole
            .into_iter()
            .chain(models.map(|(name, _)| Some(name.clone())))
            .collect()
    }

    /// Whether `model` cools because it was not found.
    pub fn is_not_found(&self, model: &str, now: u64) -> bool {
        let mut cooldowns = self.lock();
        let cooldown = cooldowns.of_model(model);
        cooldown.is_some_and(|cooldown| {
            cooldown.fault == Fault::ModelNotFound && cooldown.phase(now) != Phase::Due
        })
    }

    /// An unbilled probe that began at `began` found it well, for a model or on the whole. True
    /// when that changes anything: where its time is over, a call tries it anyway.
    pub fn found_well(&self, model: Option<&str>, began: u64, now: u64) -> bool {
        let mut cooldowns = self.lock();
        let cooldown = match model {
            None => cooldowns.whole.as_mut(),
            Some(model) => cooldowns.of_model(model),
        };
        let found = cooldown.filter(|cooldown| {
            cooldown.since < began && matches!(cooldown.phase(now), Phase::Cooling(_))
        });
        found
            .map(|cooldown| *cooldown = cooldown.found_well(now))
            .is_some()
    }

    /// Everything that cools, to be kept or shown.
    pub fn cooldowns(&self) -> Cooldowns {
        self.lock().clone()
    }

    /// Brings what is known here and what the store has together: what changed on either side since
    /// the two were the same counts.
    pub fn reconcile(&self, theirs: Cooldowns) -> Reconciled {
        let mut cooldowns = self.lock();
        let mut stored = self.lock_stored();
        let merged = reconcile::merged(&stored, &cooldowns, &theirs);
        let reconciled = Reconciled {
            changed: merged.as_kept() != cooldowns.as_kept(),
            to_write: Some(merged.as_kept()).filter(|merged| *merged != theirs),
        };
        *cooldowns = merged;
        *stored = theirs;
        self.count(&cooldowns);
        reconciled
    }

    /// The store has them now.
    pub fn is_stored(&self, written: Cooldowns) {
        *self.lock_stored() = written;
    }

    /// Takes over what was kept.
    pub fn restore(&self, kept: Cooldowns) {
        let mut cooldowns = self.lock();
        *cooldowns = kept;
        self.count(&cooldowns);
    }

    /// Another process tries whether the cooldown is over, whose mark is `mark` here: nobody here
    /// does before `until`.
    pub fn tried_elsewhere(&self, model: &str, mark: u64, until: u64) {
        self.lock()
            .each_of(model, |cooldown| match cooldown.probing == mark {
                true => Cooldown {
                    probing: until,
                    ..cooldown
                },
                false => cooldown,
            });
    }

    /// Names the window of what is tried by a call for `model`: the same on all replicas, and
    /// another one for the next window.
    pub fn window(&self, model: &str) -> Option<String> {
        let mut cooldowns = self.lock();
        if let Some(whole) = cooldowns.whole {
            return Some(format!("{}/{}", self.id, whole.since));
        }
        let cooldown = cooldowns.of_model(model)?;
        Some(format!("{}/{}/{model}", self.id, cooldown.since))
    }

    fn count(&self, cooldowns: &Cooldowns) {
        self.troubles.store(cooldowns.len(), Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, Cooldowns> {
        self.cooldowns
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// After [`lock`](Self::lock), where both are taken.
    fn lock_stored(&self) -> MutexGuard<'_, Cooldowns> {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A provider's word that it is the account's counts; else it depends on what went wrong.
fn scope(fault: Fault, hint: Hint) -> Scope {
    match fault {
        _ if hint.whole_credential => Scope::Credential,
        Fault::Unauthorized | Fault::PaymentRequired | Fault::Unreachable => Scope::Credential,
        // Permission may be lacking for one model only: a caller who asks for it must not be able
        // to take the credential from everyone else.
        Fault::Forbidden
        | Fault::RateLimited
        | Fault::ModelNotFound
        | Fault::Overloaded
        | Fault::Timeout
        | Fault::ServerError => Scope::Model,
    }
}

impl Cooldowns {
    /// In order, and without a word of who tries them: what is the same everywhere.
    pub fn as_kept(&self) -> Self {
        let models = self.models.iter();
        let mut models: Vec<_> = models
            .map(|(name, cooldown)| (name.clone(), cooldown.unprobed()))
            .collect();
        models.sort_by(|(one, _), (other, _)| one.cmp(other));
        Self {
            whole: self.whole.map(Cooldown::unprobed),
            models,
        }
    }

    pub fn len(&self) -> usize {
        usize::from(self.whole.is_some()) + self.models.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Of what is wrong, what lasts the longest.
    fn readiness(&self, model: &str, now: u64) -> Readiness {
        let of_model = self.models.iter().find(|(name, _)| &**name == model);
        let both = [self.whole, of_model.map(|(_, cooldown)| *cooldown)];
        let rank = |readiness: &Readiness| match *readiness {
            Readiness::Ready => (0, 0),
            Readiness::Due => (1, 0),
            Readiness::Probing(until, _) => (2, until),
            Readiness::Cooling(until, _) => (3, until),
        };
        let readiness = both.into_iter().flatten().map(|cooldown| {
            let fault = cooldown.fault;
            match cooldown.phase(now) {
                Phase::Cooling(until) => Readiness::Cooling(until, fault),
                Phase::Probing(until) => Readiness::Probing(until, fault),
                Phase::Due => Readiness::Due,
            }
        });
        readiness.max_by_key(rank).unwrap_or(Readiness::Ready)
    }

    fn of_model(&mut self, model: &str) -> Option<&mut Cooldown> {
        let mut models = self.models.iter_mut();
        models
            .find(|(name, _)| &**name == model)
            .map(|(_, cooldown)| cooldown)
    }

    /// False when there is no room for one more.
    fn set_model(&mut self, model: &str, cooldown: Cooldown) -> bool {
        if let Some(current) = self.of_model(model) {
            *current = cooldown;
            return true;
        }
        if self.models.len() >= MODELS && !self.give_way(cooldown.fault) {
            return false;
        }
        self.models.push((model.into(), cooldown));
        true
    }

    /// Makes room for one more: names that nobody has go first, and never is a limit forgotten for
    /// one of those.
    fn give_way(&mut self, to: Fault) -> bool {
        let rank = |at: &usize| {
            let cooldown = &self.models[*at].1;
            (cooldown.fault != Fault::ModelNotFound, cooldown.until)
        };
        let first = (0..self.models.len()).min_by_key(rank);
        let gives_way = first.filter(|at| {
            to != Fault::ModelNotFound || self.models[*at].1.fault == Fault::ModelNotFound
        });
        gives_way.map(|at| self.models.swap_remove(at)).is_some()
    }

    /// Ends the probe of this mark.
    fn unprobed(&mut self, model: &str, mark: u64) {
        self.each_of(model, |cooldown| match cooldown.probing == mark {
            true => cooldown.unprobed(),
            false => cooldown,
        });
    }

    /// Changes what concerns a call for `model`.
    fn each_of(&mut self, model: &str, change: impl Fn(Cooldown) -> Cooldown) {
        self.whole = self.whole.map(&change);
        if let Some(cooldown) = self.of_model(model) {
            *cooldown = change(*cooldown);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const POLICY: BackOff = BackOff {
        base: Duration::from_secs(1),
        max: Duration::from_secs(60),
        max_hint: Duration::from_secs(60),
        transient: Some(Duration::from_secs(60)),
        auth: Some(Duration::from_secs(60)),
        not_found: Some(Duration::from_secs(60)),
    };

    fn standing() -> Standing {
        Standing::new("c".into(), Holder::of_account([None], b"one"))
    }

    fn limited(began: u64, now: u64, wait: u64, probe: Option<u64>) -> Failure<'static> {
        Failure {
            model: "m",
            began,
            now,
            fault: Fault::RateLimited,
            hint: Hint {
                wait: Some(Duration::from_millis(wait)),
                whole_credential: false,
            },
            probe,
        }
    }

    #[test]
    fn what_served_from_before_a_failure_on_says_nothing_of_it() {
        let standing = standing();
        standing.failed(limited(5, 5, 1_000, None), &POLICY);
        assert!(!standing.served("m", 5));
        assert!(!standing.served("m", 4));
        assert!(!standing.served("other", 6));
        assert!(standing.served("m", 6));
        assert_eq!(standing.readiness("m", 6), Readiness::Ready);
    }

    #[test]
    fn a_probe_ends_with_its_own_verdict() {
        let standing = standing();
        standing.failed(limited(0, 0, 1_000, None), &POLICY);
        assert_eq!(standing.take("m", 1_000, 9_000), Some(true));
        // Somebody from before, whom the provider tells to stay away longer.
        standing.failed(limited(0, 1_000, 2_000, None), &POLICY);
        assert_eq!(standing.take("m", 3_000, 9_000), None);
        // Now nobody is waited for any more.
        standing.failed(limited(1_000, 3_000, 1_000, Some(9_000)), &POLICY);
        assert_eq!(standing.take("m", 4_000, 9_000), Some(true));
    }

    #[test]
    fn a_probe_that_was_given_up_does_not_end_the_next() {
        let standing = standing();
        standing.failed(limited(0, 0, 1_000, None), &POLICY);
        assert_eq!(standing.take("m", 1_000, 5_000), Some(true));
        assert_eq!(standing.take("m", 5_000, 9_000), Some(true));
        standing.undecided("m", 5_000);
        assert_eq!(standing.take("m", 5_001, 10_000), None);
        standing.undecided("m", 9_000);
        assert_eq!(standing.take("m", 5_001, 10_000), Some(true));
    }

    #[test]
    fn made_up_names_do_not_push_a_limit_out() {
        let standing = standing();
        standing.failed(limited(0, 0, 1_000, None), &POLICY);
        for n in 0..2 * MODELS {
            let unknown = Failure {
                model: &format!("made-up-{n}"),
                fault: Fault::ModelNotFound,
                hint: Hint::default(),
                ..limited(0, 0, 0, None)
            };
            standing.failed(unknown, &POLICY);
        }
        assert_eq!(standing.cooldowns().models.len(), MODELS);
        let cooling = Readiness::Cooling(1_000, Fault::RateLimited);
        assert_eq!(standing.readiness("m", 0), cooling);
    }

    #[test]
    fn a_new_secret_of_the_same_account_keeps_its_limits() {
        let standing = standing();
        let refused = |began| Failure {
            fault: Fault::Unauthorized,
            hint: Hint::default(),
            ..limited(began, 10, 0, None)
        };
        standing.failed(limited(0, 10, 1_000, None), &POLICY);
        standing.failed(refused(0), &POLICY);
        assert_eq!(standing.take("m", 1_010, 9_000), None);
        let renewed = standing.successor(Holder::of_account([None], b"two"));
        // With the old secret.
        standing.failed(refused(19), &POLICY);
        let cooling = Readiness::Cooling(1_010, Fault::RateLimited);
        assert_eq!(renewed.readiness("m", 20), cooling);
        renewed.allowance.spend(7);
        let other = renewed.successor(Holder::of_key(b"three"));
        assert_eq!(other.readiness("m", 20), Readiness::Ready);
        assert_eq!(other.allowance.spent(), 7);
    }

    #[test]
    fn a_look_that_comes_late_lets_nobody_in_beside_the_one_who_tries() {
        let standing = standing();
        let refused = Failure {
            fault: Fault::Unauthorized,
            hint: Hint::default(),
            ..limited(0, 0, 0, None)
        };
        standing.failed(refused, &POLICY);
        let began = 59_000;
        assert_eq!(standing.probed_early(began), [None]);
        assert_eq!(standing.take("m", 60_000, 90_000), Some(true));
        assert!(!standing.found_well(None, began, 60_001));
        assert_eq!(standing.take("m", 60_002, 90_000), None);
    }

    #[test]
    fn what_ended_long_ago_is_let_go() {
        let standing = standing();
        standing.failed(limited(0, 0, 1_000, None), &POLICY);
        standing.sweep(61_000, &POLICY);
        assert_eq!(standing.readiness("m", 61_000), Readiness::Due);
        standing.sweep(61_001, &POLICY);
        assert_eq!(standing.readiness("m", 61_001), Readiness::Ready);
    }

    /// What may happen to a credential, one after the other.
    #[derive(Clone, Debug)]
    enum Event {
        Advance(u64),
        /// A call for one of the models, if it may be asked.
        Begin(usize),
        /// The running call, counted round, ends.
        Served(usize),
        Failed(usize, Fault, Option<u64>, bool),
        GivenUp(usize),
        /// An unbilled look finds everything well.
        Look,
        Sweep,
    }

    fn events() -> impl Strategy<Value = Event> {
        let faults = prop::sample::select(Fault::ALL.to_vec());
        let waits = prop::option::of(0u64..20_000);
        prop_oneof![
            (0u64..3_000).prop_map(Event::Advance),
            (0u64..90_000).prop_map(Event::Advance),
            (0usize..2).prop_map(Event::Begin),
            (0usize..2).prop_map(Event::Begin),
            (0usize..9).prop_map(Event::Served),
            (0usize..9, faults, waits, any::<bool>())
                .prop_map(|(nth, fault, wait, whole)| Event::Failed(nth, fault, wait, whole)),
            (0usize..9).prop_map(Event::GivenUp),
            Just(Event::Look),
            Just(Event::Sweep),
        ]
    }

    struct Running {
        model: &'static str,
        began: u64,
        mark: Option<u64>,
        /// What it tries is not over yet.
        tries: bool,
    }

    const NAMES: [&str; 2] = ["a", "b"];

    /// Until when each model is left alone, as seen now.
    fn deadlines(standing: &Standing, now: u64) -> [u64; 2] {
        NAMES.map(|model| match standing.readiness(model, now) {
            Readiness::Cooling(until, _) => until,
            _ => 0,
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        /// Whatever happens in whatever order: a deadline is moved forward only by a success or a
        /// look, nobody is asked before it, and of a model one call at a time tries whether it is
        /// over.
        #[test]
        fn deadlines_hold_and_one_tries_at_a_time(
            events in prop::collection::vec(events(), 1..120),
        ) {
            let standing = standing();
            let (mut now, mut running) = (1_000_000u64, Vec::<Running>::new());
            for event in events {
                let before = deadlines(&standing, now);
                let mut may_shorten = false;
                let ended = |nth: usize, running: &mut Vec<Running>| {
                    (!running.is_empty()).then(|| running.swap_remove(nth % running.len()))
                };
                match event {
                    Event::Advance(by) => now += by,
                    Event::Begin(nth) => {
                        let (model, patience) = (NAMES[nth], now + 10_000);
                        let taken = standing.take(model, now, patience);
                        prop_assert!(before[nth] == 0 || taken.is_none());
                        if taken == Some(true) {
                            let tries = |call: &&Running| {
                                let waited_for = call.mark.is_some_and(|mark| now < mark);
                                call.model == model && call.tries && waited_for
                            };
                            prop_assert_eq!(running.iter().filter(tries).count(), 0);
                        }
                        running.extend(taken.map(|tries| Running {
                            model,
                            began: now,
                            mark: tries.then_some(patience),
                            tries,
                        }));
                    }
                    Event::Served(nth) => {
                        may_shorten = true;
                        if let Some(call) = ended(nth, &mut running) {
                            let whole = standing.cooldowns().whole;
                            let over = standing.served(call.model, call.began);
                            let whole_is_over = whole != standing.cooldowns().whole;
                            for other in &mut running {
                                let concerned = whole_is_over || other.model == call.model;
                                other.tries &= !(over && concerned);
                            }
                        }
                    }
                    Event::Failed(nth, fault, wait, whole_credential) => {
                        if let Some(call) = ended(nth, &mut running) {
                            let failure = Failure {
                                model: call.model,
                                began: call.began,
                                now,
                                fault,
                                hint: Hint {
                                    wait: wait.map(Duration::from_millis),
                                    whole_credential,
                                },
                                probe: call.mark,
                            };
                            standing.failed(failure, &POLICY);
                        }
                    }
                    Event::GivenUp(nth) => {
                        if let Some((model, mark)) =
                            ended(nth, &mut running).and_then(|call| Some((call.model, call.mark?)))
                        {
                            standing.undecided(model, mark);
                        }
                    }
                    Event::Look => {
                        may_shorten = true;
                        for model in standing.probed_early(now) {
                            standing.found_well(model.as_deref(), now, now);
                        }
                    }
                    Event::Sweep => standing.sweep(now, &POLICY),
                }
                let after = deadlines(&standing, now);
                let held = before.iter().zip(after).all(|(&before, after)| {
                    before <= now || after >= before
                });
                prop_assert!(held || may_shorten, "{before:?} became {after:?} at {now}");
            }
        }
    }
}
