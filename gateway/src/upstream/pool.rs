//! The credentials that serve one name, and which of them are ready.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arc_swap::ArcSwap;
use turnpike_api::{Operation, Selector, Slot, Tier};
use turnpike_limits::Price;

use super::answers::Answers;
use super::board::Board;
use super::credential::Credential;
use super::outlook::{Outlook, Outlooks};
use crate::observe::metrics::ModelMetrics;

/// Nobody was chosen yet: a round begins anywhere, or all replicas of a fleet would begin with the same
/// one; who fills one first begins with the first.
const NOBODY: u32 = u32::MAX;

/// Credentials, best priority first. Names that the same credentials serve share one.
pub struct Roster {
    members: Vec<RosterEntry>,
    /// The runs of equal priority.
    tiers: Vec<Range<usize>>,
    /// Of each tier: whether its members have different weights.
    weighted: Vec<bool>,
    /// Who was chosen last, or [`NOBODY`] yet.
    last: AtomicU32,
    /// Where each credential is, by its id; made when a session first asks.
    positions: OnceLock<HashMap<Arc<str>, usize>>,
}

struct RosterEntry {
    credential: Arc<Credential>,
    /// Which [`Part`] of a pool it belongs to.
    part: usize,
}

impl Roster {
    /// Of credentials and the parts they belong to.
    pub fn new(credentials: impl IntoIterator<Item = (Arc<Credential>, usize)>) -> Self {
        let entries = credentials.into_iter();
        let mut members: Vec<RosterEntry> = entries
            .map(|(credential, part)| RosterEntry { credential, part })
            .collect();
        members.sort_by_key(|member| member.credential.priority);
        let tiers = tiers(&members);
        let differ = |tier: &Range<usize>| {
            let weight = members[tier.start].credential.weight;
            let mut others = members[tier.clone()].iter();
            others.any(|member| member.credential.weight != weight)
        };
        Self {
            weighted: tiers.iter().map(differ).collect(),
            tiers,
            members,
            last: AtomicU32::new(NOBODY),
            positions: OnceLock::new(),
        }
    }

    fn position(&self, id: &str) -> Option<usize> {
        let positions = self.positions.get_or_init(|| {
            let ids = self
                .members
                .iter()
                .map(|member| member.credential.id.clone());
            ids.zip(0..).collect()
        });
        positions.get(id).copied()
    }
}

fn tiers(members: &[RosterEntry]) -> Vec<Range<usize>> {
    let mut tiers: Vec<Range<usize>> = Vec::new();
    for (at, member) in members.iter().enumerate() {
        match tiers.last_mut() {
            Some(tier) if members[tier.start].credential.priority == member.credential.priority => {
                tier.end = at + 1;
            }
            _ => tiers.push(at..at + 1),
        }
    }
    tiers
}

/// What the credentials of one offer have in common in a pool.
#[derive(Clone)]
pub struct Part {
    /// Where the offer is in the catalogue.
    pub group: usize,
    /// The provider's name.
    pub provider: Arc<str>,
    /// The vendor's name for the model.
    pub model: Arc<str>,
    /// So long the offer's prefix is in the name that clients use.
    pub prefixed: usize,
    /// As limits tell models apart: the vendor's name in lower case, whatever alias or prefix clients
    /// use. Names that are not listed count as one: callers make them up.
    pub counted: Arc<str>,
    /// `None` = nobody has said what it costs.
    pub price: Option<Price>,
    /// How long answers of it are.
    pub answers: Arc<Answers>,
    pub metrics: ModelMetrics,
}

impl Part {
    /// The name that clients use, without the offer's prefix.
    pub fn bare<'n>(&self, name: &'n str) -> &'n str {
        name.get(self.prefixed..).unwrap_or(name)
    }
}

/// A credential as it serves one model's name.
#[derive(Clone, Copy)]
pub struct Member<'p> {
    pub credential: &'p Arc<Credential>,
    /// The vendor's name for the model.
    pub model: &'p Arc<str>,
    /// As limits tell models apart.
    pub counted: &'p Arc<str>,
    pub price: Option<Price>,
    pub answers: &'p Answers,
    pub metrics: &'p ModelMetrics,
}

/// The credentials that serve one name in one dialect.
pub struct Pool {
    roster: Arc<Roster>,
    parts: Vec<Part>,
    selector: Arc<dyn Selector>,
    turn: AtomicU64,
    board: Arc<Board>,
    ready: ArcSwap<Ready>,
    outlooks: Outlooks,
    /// Somebody works out who is ready.
    renewing: AtomicBool,
    /// Providers whose credentials would serve it, for a refusal's text.
    pub providers: Vec<Arc<str>>,
    /// Credentials that would serve it but for what the operator has to mend.
    pub unusable: Unusable,
    /// What is left of it for callers who may be served by some of its parts only, by the parts'
    /// positions. There are as many as there are sets of roles that differ in that: few.
    narrowed: Mutex<Vec<Narrowed>>,
}

type Narrowed = (Box<[usize]>, Arc<Pool>);

/// As many narrowed pools are kept. Others are made for each request, which only costs it time.
const NARROWED: usize = 16;

/// Credentials that nothing but the operator brings back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unusable {
    pub disabled: usize,
    /// Their file cannot be read.
    pub broken: usize,
}

/// Who was ready when it was worked out.
struct Ready {
    epoch: u64,
    /// When somebody is back, or has to go, by itself.
    stale_at: u64,
    tiers: Vec<ReadyTier>,
}

#[derive(Default)]
struct ReadyTier {
    /// Positions in the roster.
    ids: Vec<u32>,
    /// Sums of weights; empty when all are the same.
    weights: Vec<u64>,
    /// What the pool's turn is short of that of the credential after the one chosen last: the
    /// round goes on where it was when somebody comes or goes.
    ahead: u64,
}

/// Held by the one who works out who is ready.
struct Renewing<'p>(&'p AtomicBool);

impl Drop for Renewing<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// A member that was taken for a call.
pub struct Taken {
    pub at: usize,
    /// The call is the one that tries whether a cooldown is over.
    pub probe: bool,
}

impl Pool {
    pub fn new(
        roster: Arc<Roster>,
        parts: Vec<Part>,
        selector: Arc<dyn Selector>,
        board: Arc<Board>,
    ) -> Self {
        let never = Ready {
            epoch: u64::MAX,
            stale_at: 0,
            tiers: Vec::new(),
        };
        Self {
            roster,
            parts,
            selector,
            turn: AtomicU64::new(fastrand::u64(..)),
            board,
            ready: ArcSwap::from_pointee(never),
            outlooks: Outlooks::default(),
            renewing: AtomicBool::new(false),
            providers: Vec::new(),
            unusable: Unusable::default(),
            narrowed: Mutex::default(),
        }
    }

    /// What is left of it with these parts only: what was made of it before, else what `make` makes.
    pub fn narrowed(&self, kept: &[usize], make: impl FnOnce() -> Self) -> Arc<Self> {
        let narrowed = || self.narrowed.lock().unwrap_or_else(PoisonError::into_inner);
        let found = |all: &[Narrowed]| {
            let found = all.iter().find(|(parts, _)| **parts == *kept);
            found.map(|(_, pool)| pool.clone())
        };
        if let Some(pool) = found(&narrowed()) {
            return pool;
        }
        let pool = Arc::new(make());
        let mut all = narrowed();
        // Somebody else may have been quicker: credentials take turns in one of the two.
        if let Some(pool) = found(&all) {
            return pool;
        }
        if all.len() < NARROWED {
            all.push((kept.into(), pool.clone()));
        }
        pool
    }

    pub fn len(&self) -> usize {
        self.roster.members.len()
    }

    pub fn is_empty(&self) -> bool {
        self.roster.members.is_empty()
    }

    pub fn member(&self, at: usize) -> Member<'_> {
        let entry = &self.roster.members[at];
        let part = &self.parts[entry.part];
        Member {
            credential: &entry.credential,
            model: &part.model,
            counted: &part.counted,
            price: part.price,
            answers: &part.answers,
            metrics: &part.metrics,
        }
    }

    /// What its credentials have in common, offer by offer.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    pub fn members(&self) -> impl Iterator<Item = Member<'_>> {
        (0..self.len()).map(|at| self.member(at))
    }

    /// Whether one of them speaks the operation's protocol.
    pub fn serves(&self, operation: Operation) -> bool {
        self.members()
            .any(|member| member.credential.vendor.plugin.serves(operation))
    }

    /// Draws this request's turn: it stays the same for all its attempts.
    pub fn next_turn(&self) -> u64 {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }

    /// Where a credential is among them.
    pub fn position(&self, id: &str) -> Option<usize> {
        self.roster.position(id)
    }

    /// Whether this member may be tried.
    pub fn is_ready(&self, at: usize, now: u64) -> bool {
        let member = self.member(at);
        member.credential.state(member.model, now).is_ready()
    }

    /// Takes this member, if it is ready.
    pub fn take_one(&self, at: usize, now: u64, patience: u64) -> Option<Taken> {
        let Member {
            credential, model, ..
        } = self.member(at);
        let probe = credential.take(model, now, patience)?;
        if probe {
            self.board.changed();
        }
        Some(Taken { at, probe })
    }

    /// Takes the member to try next, from the best tier that has one which is ready and passes
    /// `fits`. A probe is waited for until `patience`.
    pub fn take(
        &self,
        turn: u64,
        now: u64,
        patience: u64,
        fits: impl Fn(usize) -> bool,
    ) -> Option<Taken> {
        let (ready, is_fresh) = self.ready(now);
        let taken = self.take_from(&ready, turn, now, patience, &fits);
        if taken.is_some() || is_fresh {
            return taken;
        }
        // Somebody else finds out who is ready: a list of a moment ago must not be the reason why
        // nobody is.
        let renewed = self.work_out(self.board.epoch(), now);
        self.take_from(&renewed, turn, now, patience, &fits)
    }

    fn take_from(
        &self,
        ready: &Ready,
        turn: u64,
        now: u64,
        patience: u64,
        fits: &impl Fn(usize) -> bool,
    ) -> Option<Taken> {
        // Those who turned out not to be ready any more.
        let mut gone: Vec<usize> = Vec::new();
        for tier in &ready.tiers {
            while let Some(slot) = self.pick(tier, turn, |at| gone.contains(&at) || !fits(at)) {
                let at = tier.ids[slot] as usize;
                if let Some(taken) = self.take_one(at, now, patience) {
                    self.roster.last.store(at as u32, Ordering::Relaxed);
                    return Some(taken);
                }
                gone.push(at);
            }
        }
        None
    }

    fn pick(&self, tier: &ReadyTier, turn: u64, passes: impl Fn(usize) -> bool) -> Option<Slot> {
        let credential = |slot: Slot| &self.roster.members[tier.ids[slot] as usize].credential;
        self.selector.pick(&Tier {
            ids: &tier.ids,
            weights: &tier.weights,
            turn: turn.wrapping_add(tier.ahead),
            last: self.roster.last.load(Ordering::Relaxed),
            tried: &|slot| passes(tier.ids[slot] as usize),
            remaining: &|slot| credential(slot).left(),
        })
    }

    /// Who is ready. It is worked out anew when something has changed, by one request at a time:
    /// the others go on with what was so a moment ago, and look at each member they pick.
    /// False beside it = it is of a moment ago.
    fn ready(&self, now: u64) -> (arc_swap::Guard<Arc<Ready>>, bool) {
        let ready = self.ready.load();
        let epoch = self.board.epoch();
        let is_fresh = ready.epoch == epoch && now < ready.stale_at;
        if is_fresh || self.renewing.swap(true, Ordering::Acquire) {
            return (ready, is_fresh);
        }
        let _renewing = Renewing(&self.renewing);
        self.ready.store(Arc::new(self.work_out(epoch, now)));
        (self.ready.load(), true)
    }

    #[cold]
    fn work_out(&self, epoch: u64, now: u64) -> Ready {
        let mut stale_at = u64::MAX;
        let last = self.roster.last.load(Ordering::Relaxed);
        let turn = self.turn.load(Ordering::Relaxed);
        let tiers = self.roster.tiers.iter().zip(&self.roster.weighted);
        let tiers = tiers.map(|(range, &weighted)| {
            let mut tier = ReadyTier::default();
            let mut sum = 0;
            for at in range.clone() {
                let Member {
                    credential, model, ..
                } = self.member(at);
                let state = credential.state(model, now);
                stale_at = stale_at.min(state.changes_at(credential));
                if !state.is_ready() {
                    continue;
                }
                tier.ids.push(at as u32);
                if weighted {
                    sum += u64::from(credential.weight);
                    tier.weights.push(sum);
                }
            }
            tier.ahead = ahead(&tier.ids, last, turn);
            tier
        });
        let tiers = tiers.filter(|tier| !tier.ids.is_empty()).collect();
        Ready {
            epoch,
            stale_at,
            tiers,
        }
    }

    /// Why nobody is there, and when somebody is back. Those that do not speak the operation do not
    /// matter to it.
    pub fn outlook(&self, now: u64, operation: Operation) -> Arc<Outlook> {
        self.outlooks.of(self, operation, self.board.epoch(), now)
    }
}

/// How far `turn` is from one that falls on the credential after `last`, round the end.
fn ahead(ids: &[u32], last: u32, turn: u64) -> u64 {
    if last == NOBODY {
        return 0;
    }
    let len = ids.len() as u64;
    let next = ids.partition_point(|&id| id <= last) as u64;
    match turn.checked_rem(len) {
        Some(at) => (next + len - at) % len,
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_goes_on_where_it_was() {
        let ids = [2, 4, 7];
        for (last, next) in [(0, 0), (2, 1), (3, 1), (4, 2), (7, 0), (9, 0)] {
            for turn in [0, 1, 5, 1_000] {
                let at = (turn + ahead(&ids, last, turn)) % 3;
                assert_eq!(at, next, "after {last}");
            }
        }
        assert_eq!(ahead(&[], 3, 7), 0);
        assert_eq!(ahead(&ids, NOBODY, 7), 0, "a turn of its own");
    }
}
