//! With which credential. Once an attempt.

use tracing::error;
use turnpike_api::Fault;

use super::authorize::Permit;
use super::route::Route;
use crate::context::Context;
use crate::observe::metrics::Metrics;
use crate::upstream::Member;

/// One request's way through a pool: which credentials it has tried.
pub struct Selection<'p> {
    permit: &'p Permit,
    route: &'p Route,
    turn: u64,
    tried: Vec<usize>,
    max_attempts: usize,
}

impl<'p> Selection<'p> {
    /// Draws the request's turn.
    pub fn new(permit: &'p Permit, route: &'p Route, context: &Context<'_>) -> Self {
        Self {
            permit,
            route,
            turn: route.pool().next_turn(),
            tried: Vec::new(),
            max_attempts: context.snapshot.max_attempts as usize,
        }
    }

    /// The next credential to try, none twice; `None` when there is none left, or enough were
    /// tried.
    pub fn next<'m>(&mut self, metrics: &'m Metrics) -> Option<Lease<'p, 'm>> {
        if self.tried.len() >= self.max_attempts {
            return None;
        }
        let members = &self.route.pool().members;
        let serves = |at: usize| {
            members[at]
                .credential
                .vendor
                .plugin
                .serves(self.permit.ask().operation)
        };
        let at = self
            .route
            .pool()
            .pick(self.turn, |at| !self.tried.contains(&at) && serves(at))?;
        self.tried.push(at);
        Some(Lease {
            member: &members[at],
            metrics,
            settled: false,
        })
    }
}

/// A credential, held for one attempt. It must be settled: one that is dropped without says so.
pub struct Lease<'p, 'm> {
    pub member: &'p Member,
    metrics: &'m Metrics,
    settled: bool,
}

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It served, or told the caller of its own fault.
    Good,
    /// The provider refused.
    Fault(Fault),
    /// It could not be reached, or broke off.
    Broken(&'static str),
    /// The caller left.
    ClientGone,
}

impl Lease<'_, '_> {
    /// Counts the attempt and gives the credential back.
    pub fn settle(mut self, outcome: Outcome) {
        self.settled = true;
        let metrics = &self.member.credential.metrics;
        match outcome {
            Outcome::Good => metrics.good(),
            Outcome::Fault(fault) => metrics.failed(fault),
            Outcome::Broken(what) => metrics.outcome(what),
            Outcome::ClientGone => metrics.outcome("client_gone"),
        }
    }
}

impl Drop for Lease<'_, '_> {
    fn drop(&mut self) {
        // A panic unwinds through here: the attempt is over, and nobody else will settle it.
        if !self.settled && !std::thread::panicking() {
            self.metrics.lease_leaked();
            error!(
                credential = &*self.member.credential.id,
                "a lease was dropped without being settled"
            );
        }
    }
}
