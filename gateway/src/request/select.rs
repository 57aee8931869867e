//! With which credential. Once an attempt.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tracing::error;
use turnpike_api::{Clock, Entry, Fault, Hint, Limit, Mark, Usage};
use turnpike_limits::{Account, Fallen, Reservation};

use super::admit::{Admission, spent};
use super::authorize::Permit;
use super::count::BYTES_A_TOKEN;
use crate::clock::millis;
use crate::context::Context;
use crate::observe::events::{CredentialCooled, CredentialRecovered, QuotaSpent, UsageKept};
use crate::runtime::Runtime;
use crate::upstream::affinity::Session;
use crate::upstream::standing::Failure;
use crate::upstream::{Member, Pool};

/// Tokens an answer is expected to have.
const ANSWER: u64 = 500;

/// As many tokens as a prompt is estimated at, at most: what is longer is pictures in Base64, which
/// take far fewer than their bytes.
pub(super) const LONGEST_PROMPT: u64 = 200_000;

/// While another replica tries whether a cooldown is over: after so many milliseconds it is asked
/// whether it still does.
const ASKED_AGAIN: u64 = 1_000;

/// One request's way through a pool: which credentials it has tried.
pub struct Selection<'p> {
    permit: &'p Permit,
    admission: &'p Admission<'p>,
    pool: &'p Pool,
    /// As callers call the pool's model.
    name: &'p str,
    turn: u64,
    /// Positions in the pool.
    tried: Vec<usize>,
    /// Likewise, of those whose caps had no room.
    capped: Vec<usize>,
    last: Option<usize>,
    /// Of these, the cap that has room first.
    fallen: Option<Fallen>,
    most: usize,
}

impl<'p> Selection<'p> {
    /// Draws the request's turn. Those in `tried` are not tried again; with them, `most` are.
    pub fn new(
        permit: &'p Permit,
        admission: &'p Admission<'p>,
        (pool, name): (&'p Pool, &'p str),
        tried: Vec<usize>,
        most: usize,
    ) -> Self {
        Self {
            permit,
            admission,
            pool,
            name,
            turn: pool.next_turn(),
            tried,
            capped: Vec::new(),
            last: None,
            fallen: None,
            most,
        }
    }

    /// The next credential to try, none twice; `None` when there is none ready, or enough were
    /// tried. Of those that are ready, one whose caps or whose model's limits have no room is
    /// passed over.
    pub async fn next<'m>(&mut self, context: &Context<'m>) -> Option<Lease<'p, 'm>> {
        while !self.has_tried_enough() {
            let lease = self.take(context)?;
            if lease.member.credential.is_uncapped() && self.admission.of_models().is_none() {
                return Some(lease);
            }
            // Boxed, as all that is seldom awaited here: it would lie within the future of every
            // request.
            match Box::pin(lease.within_limits(self.name)).await {
                Ok(lease) => return Some(lease),
                Err(fallen) => {
                    self.tried.pop();
                    self.capped.extend(self.last);
                    self.fallen = Some(fallen.sooner(self.fallen.take()));
                }
            }
        }
        None
    }

    fn take<'m>(&mut self, context: &Context<'m>) -> Option<Lease<'p, 'm>> {
        let runtime = context.runtime;
        let timeouts = &context.snapshot.timeouts;
        let now = runtime.board.time.now();
        let patience = now + millis(timeouts.connect + timeouts.first_byte);
        let ask = self.permit.ask();
        let serves = |at: usize| {
            let vendor = &self.pool.member(at).credential.vendor;
            vendor.plugin.serves(ask.operation)
        };
        let is_passed = |at: usize| self.tried.contains(&at) || self.capped.contains(&at);
        let of_models = self.admission.of_models();
        let has_fallen = |at: usize| {
            of_models.is_some_and(|limits| limits.have_fallen(self.name, &self.pool.member(at)))
        };
        let fits = |at: usize| !is_passed(at) && serves(at) && !has_fallen(at);
        let kept = self.kept(context, now).filter(|at| fits(*at));
        let taken = kept.and_then(|at| self.pool.take_one(at, now, patience));
        let keeps = taken.is_some();
        let taken = match taken {
            Some(taken) => taken,
            None => self.pool.take(self.turn, now, patience, fits)?,
        };
        if context.session.is_some() {
            runtime.metrics.session(keeps);
        }
        self.tried.push(taken.at);
        self.last = Some(taken.at);
        let member = self.pool.member(taken.at);
        let prompt = ask.body_len as u64 / BYTES_A_TOKEN;
        let expected = prompt.min(LONGEST_PROMPT) + ANSWER;
        member.credential.standing.allowance.expect(expected);
        Some(Lease {
            member,
            admission: self.admission,
            caps: None,
            of_model: Vec::new(),
            runtime,
            began: now,
            expected,
            told: Mutex::default(),
            probe: taken.probe.then_some(patience),
            claim: None,
            settled: false,
        })
    }
}

impl Selection<'_> {
    fn has_tried_enough(&self) -> bool {
        self.tried.len() >= self.most
    }

    /// Who was tried, by positions in the pool; and where none was for want of room in its caps, the
    /// one that has room first.
    pub fn end(self) -> (Vec<usize>, Option<Fallen>) {
        (self.tried, self.fallen)
    }

    /// The member that the request's session keeps to.
    fn kept(&self, context: &Context<'_>, now: u64) -> Option<usize> {
        let (session, ttl) = (context.session?, context.snapshot.affinity?);
        let id = context.runtime.affinity.find(session, now, millis(ttl))?;
        self.pool.position(&id)
    }
}

/// A credential, held for one attempt. It must be settled: one that is dropped without says so.
pub struct Lease<'p, 'm> {
    pub member: Member<'p>,
    pub admission: &'p Admission<'p>,
    /// What was taken of the credential's own caps.
    caps: Option<Reservation>,
    /// Of the limits of the model it serves, where that is known no sooner.
    of_model: Vec<Arc<Reservation>>,
    runtime: &'m Runtime,
    began: u64,
    /// Tokens.
    expected: u64,
    /// What was counted of it by now.
    told: Mutex<Usage>,
    /// Set while the attempt tries whether a cooldown is over, and others wait to hear of it: until
    /// when they do, by which its mark is known.
    probe: Option<u64>,
    /// What was claimed for that.
    claim: Option<String>,
    settled: bool,
}

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It served, or told the caller of its own fault.
    Good,
    /// The provider refused, or could not be reached.
    Fault(Fault, Hint),
    /// It broke off.
    Broken(&'static str),
    /// The caller left.
    ClientGone,
}

impl Lease<'_, '_> {
    /// Whether the attempt is one that tries whether a cooldown is over.
    pub fn tries(&self) -> bool {
        self.probe.is_some()
    }

    /// Whether the attempt may be made. One that tries whether a cooldown is over is made by one replica
    /// of a fleet: by the one that has the claim. A store that is away keeps nobody from trying.
    pub async fn may_go(&mut self) -> bool {
        let Some(mark) = self.probe.filter(|_| self.runtime.is_fleet()) else {
            return true;
        };
        let Member {
            credential, model, ..
        } = self.member;
        let standing = &credential.standing;
        // It may be over since: another replica has told so.
        let Some(window) = standing.window(model) else {
            return true;
        };
        let claim = format!("half-open/{window}");
        let patience = Duration::from_millis(mark.saturating_sub(self.began));
        let (store, name) = (&self.runtime.store, self.runtime.name());
        // Noted before: a caller who leaves while it is asked must not take it along.
        self.claim = Some(claim.clone());
        if store.claim(&claim, name, patience).await == Ok(false) {
            self.claim = None;
            // Its news are heard; who is stopped before it tells any leaves the claim to others.
            let until = self.runtime.board.time.now() + ASKED_AGAIN;
            standing.tried_elsewhere(model, mark, until);
            self.runtime.board.changed();
            (self.probe, self.settled) = (None, true);
            return false;
        }
        true
    }

    /// Leaves it to another replica to try: this attempt has no verdict.
    fn release(&mut self) {
        let Some(claim) = self.claim.take() else {
            return;
        };
        let (store, name) = (self.runtime.store.clone(), self.runtime.name().to_owned());
        // Nobody waits for it. Where it does not come about, the claim ends by itself.
        tokio::spawn(async move { store.release(&claim, &name).await });
    }

    /// Tokens of the prompt, roughly.
    pub fn expected_input(&self) -> u64 {
        self.expected - ANSWER
    }

    /// The call goes out now.
    pub fn sent(&self) {
        self.admission.sent();
        for taken in self.taken() {
            taken.sent();
        }
    }

    /// What was taken for this attempt beside what the call took before.
    fn taken(&self) -> impl Iterator<Item = &Reservation> {
        self.caps.iter().chain(self.of_model())
    }

    fn of_model(&self) -> impl Iterator<Item = &Reservation> {
        self.of_model.iter().map(|taken| &**taken)
    }

    /// The caller's limits that are known to count it, with what is left of each.
    pub fn limits(&self) -> impl Iterator<Item = (&Limit, &Account)> {
        let before = self.admission.reservation().into_iter();
        let all = before.chain(self.of_model());
        all.flat_map(Reservation::limits)
    }

    /// Takes what the call is expected to use of what is known to limit it only now. Where there is no
    /// room, the credential is given back as if it had not been taken.
    async fn within_limits(mut self, name: &str) -> Result<Self, Fallen> {
        match self.take_of_limits(name).await {
            Ok(()) => Ok(self),
            Err(fallen) => {
                self.settled = true;
                Err(fallen)
            }
        }
    }

    async fn take_of_limits(&mut self, name: &str) -> Result<(), Fallen> {
        self.of_model = self.within_models(name).await?;
        self.caps = self.within_caps().await?;
        Ok(())
    }

    /// Of the limits of the model, which callers know by `name`.
    async fn within_models(&self, name: &str) -> Result<Vec<Arc<Reservation>>, Fallen> {
        let Some(limits) = self.admission.of_models() else {
            return Ok(Vec::new());
        };
        let expected = self.admission.expected(self.member.answers);
        let book = &self.runtime.limits;
        limits.take(name, &self.member, expected, book).await
    }

    /// Of the credential's caps, and of its quota where replicas share it.
    async fn within_caps(&self) -> Result<Option<Reservation>, Fallen> {
        let credential = self.member.credential;
        if credential.is_uncapped() {
            return Ok(None);
        }
        let allowance = &credential.standing.allowance;
        let quota = credential.quota.taken(allowance, &self.runtime.limits);
        let quota = quota.as_ref().map(|(rule, _)| &**rule);
        let rules = credential.caps.iter().chain(quota);
        let rules: Vec<_> = rules.map(|rule| (rule, &*credential.id)).collect();
        let expected = self.admission.expected(self.member.answers);
        let expected = expected.at_most(credential.quota.limit.unwrap_or(u64::MAX));
        let taken = self.runtime.limits.reserve(&rules, expected).await;
        taken.map(Some)
    }

    /// The answer is good: whatever was wrong with the credential is over. Told as soon as it is
    /// known, for others may wait for it while the answer streams on.
    pub fn serves(&mut self, session: Option<(Session, Duration)>) {
        self.probe = None;
        if let Some((session, ttl)) = session {
            let now = self.runtime.board.time.now();
            let credential = self.member.credential;
            self.runtime
                .affinity
                .pin(session, credential, now, millis(ttl));
        }
        let standing = &self.member.credential.standing;
        if standing.served(self.member.model, self.began) {
            self.runtime.board.cooldowns_changed(standing);
            CredentialRecovered {
                credential: self.member.credential,
                model: Some(self.member.model),
                by: "call",
                metrics: &self.runtime.metrics,
                audit: &self.runtime.audit,
            }
            .tell();
        }
    }

    /// Counts what the attempt used, or more of it. `calls` is 1 the first time. Once the mark is
    /// [`kept`](Self::keep), the answer may be completed.
    pub fn spend(&self, usage: Usage, estimated: bool, calls: u32) -> Mark {
        let cost = self.charge(&usage);
        if let Some(cost) = cost {
            self.member.metrics.cost(cost);
        }
        let credential = self.member.credential;
        let now = self.runtime.board.time.now();
        credential.begin_period(now);
        let allowance = &credential.standing.allowance;
        let tokens = usage.input.saturating_add(usage.output);
        let period = allowance.spend(tokens);
        // Of the calls that end together, one goes over the limit.
        let limit = credential.quota.limit.unwrap_or(u64::MAX);
        if period.spent >= limit && period.spent.saturating_sub(tokens) < limit {
            self.runtime.board.changed();
            let metrics = &self.runtime.metrics;
            QuotaSpent {
                credential,
                metrics,
                audit: &self.runtime.audit,
            }
            .tell();
        }
        self.runtime.store.note(&Entry {
            payer: self.admission.payer(&self.runtime.names),
            credential: &credential.id,
            model: self.member.model,
            at: now,
            period: period.start,
            usage,
            cost,
            estimated,
            calls,
        })
    }

    /// Counts it in the caller's limits: what it costs by all of it together, so that it is rounded
    /// once. Answers with what more costs, where there is a price.
    fn charge(&self, more: &Usage) -> Option<u64> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let all = told.plus(more);
        let spent = spent(all, *told, self.member.price);
        *told = all;
        self.admission.spend(spent);
        for taken in self.taken() {
            taken.spend(spent);
        }
        self.member.price.map(|_| spent.cost)
    }

    /// Writes down what was counted.
    pub fn keep(&self, mark: Mark) {
        let kept = self.runtime.store.keep(mark);
        let (runtime, metrics) = (self.runtime, &self.runtime.metrics);
        if kept.is_err() {
            metrics.store_failed("usage");
        }
        if runtime.usage_is_kept(kept.is_ok()) {
            let error = kept.err();
            UsageKept { error, metrics }.tell();
        }
    }

    /// Counts the attempt and gives the credential back.
    pub fn settle(mut self, outcome: Outcome, context: &Context<'_>) {
        self.settled = true;
        let metrics = &self.member.credential.metrics;
        match outcome {
            Outcome::Good => metrics.good(),
            Outcome::Fault(fault, hint) => {
                metrics.failed(fault);
                self.failed(fault, hint, context);
            }
            Outcome::Broken(what) => metrics.outcome(what),
            Outcome::ClientGone => metrics.outcome("client_gone"),
        }
    }

    fn failed(&mut self, fault: Fault, hint: Hint, context: &Context<'_>) {
        let Member {
            credential, model, ..
        } = self.member;
        let now = self.runtime.board.time.now();
        let failure = Failure {
            model,
            began: self.began,
            now,
            fault,
            hint,
            probe: self.probe,
        };
        let was_probe = self.probe.take().is_some();
        let cooled = credential
            .standing
            .failed(failure, &context.snapshot.back_off);
        let Some((scope, cooldown)) = cooled else {
            if was_probe {
                self.release();
                // Who waited for it may try another.
                self.runtime.board.changed();
            }
            return;
        };
        self.runtime.board.cooldowns_changed(&credential.standing);
        // One line and one count a window, however many calls ran into it.
        if cooldown.since == now {
            CredentialCooled {
                credential,
                model,
                scope,
                cooldown,
                metrics: &self.runtime.metrics,
                audit: &self.runtime.audit,
            }
            .tell();
        }
    }
}

impl Drop for Lease<'_, '_> {
    fn drop(&mut self) {
        let Member {
            credential, model, ..
        } = self.member;
        credential.standing.allowance.expect_no_more(self.expected);
        if let Some(mark) = self.probe {
            // Without a verdict: another call may try.
            credential.standing.undecided(model, mark);
            self.release();
            self.runtime.board.changed();
        }
        // A panic unwinds through here: the attempt is over, and nobody else will settle it.
        if !self.settled && !std::thread::panicking() {
            self.runtime.metrics.lease_leaked();
            error!(
                credential = &*credential.id,
                "a lease was dropped without being settled"
            );
        }
    }
}
