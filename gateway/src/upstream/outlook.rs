//! Why a pool's credentials are not there, and when they come back.
//!
//! It is asked for when none could be taken, and then at every change by each request that waits:
//! one look at the pool does for all of them.

use std::sync::{Arc, Mutex, PoisonError};

use turnpike_api::{Fault, Operation};

use super::credential::State;
use super::pool::{Member, Pool};

/// How a pool stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outlook {
    pub ready: usize,
    pub cooling: usize,
    /// A call tries whether they are well again.
    pub probing: usize,
    pub exhausted: usize,
    pub expired: usize,
    /// Why the cooling ones do, and how many for each reason.
    pub faults: Vec<(Fault, usize)>,
    /// The provider of the one that is back first, and when.
    pub soonest: Option<(Arc<str>, u64)>,
    /// When the first spent quota begins anew.
    pub first_reset: Option<u64>,
}

/// One pool's latest outlooks: of each operation, for some providers do not speak all.
#[derive(Default)]
pub(super) struct Outlooks(Mutex<Vec<Seen>>);

struct Seen {
    operation: Operation,
    epoch: u64,
    /// When it changes by itself.
    stale_at: u64,
    outlook: Arc<Outlook>,
}

impl Outlooks {
    /// The pool's outlook in this epoch. Whoever asks while another one looks waits for what that
    /// one sees.
    pub(super) fn of(
        &self,
        pool: &Pool,
        operation: Operation,
        epoch: u64,
        now: u64,
    ) -> Arc<Outlook> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let latest = seen.iter().find(|seen| seen.operation == operation);
        if let Some(latest) = latest.filter(|seen| seen.epoch == epoch && now < seen.stale_at) {
            return latest.outlook.clone();
        }
        let (outlook, stale_at) = look(pool, operation, now);
        let outlook = Arc::new(outlook);
        seen.retain(|seen| seen.operation != operation);
        seen.push(Seen {
            operation,
            epoch,
            stale_at,
            outlook: outlook.clone(),
        });
        outlook
    }
}

fn look(pool: &Pool, operation: Operation, now: u64) -> (Outlook, u64) {
    let (mut outlook, mut stale_at) = (Outlook::default(), u64::MAX);
    for member in pool.members() {
        if member.credential.vendor.plugin.serves(operation) {
            let state = member.credential.state(member.model, now);
            stale_at = stale_at.min(state.changes_at(member.credential));
            outlook.add(&member, state);
        }
    }
    (outlook, stale_at)
}

impl Outlook {
    fn add(&mut self, member: &Member<'_>, state: State) {
        match state {
            State::Ready | State::Due => self.ready += 1,
            State::Cooling(_, fault) => {
                self.cooling += 1;
                self.add_fault(fault);
            }
            State::Probing(_, fault) => {
                self.probing += 1;
                self.add_fault(fault);
            }
            State::Exhausted(reset) => {
                self.exhausted += 1;
                self.first_reset = Some(self.first_reset.unwrap_or(u64::MAX).min(reset));
            }
            State::Expired => self.expired += 1,
        }
        let back = match state {
            State::Cooling(until, _) | State::Probing(until, _) => until,
            State::Exhausted(reset) if reset < u64::MAX => reset,
            _ => return,
        };
        if self
            .soonest
            .as_ref()
            .is_none_or(|(_, soonest)| back < *soonest)
        {
            self.soonest = Some((member.credential.vendor.name.clone(), back));
        }
    }

    fn add_fault(&mut self, fault: Fault) {
        let mut known = self.faults.iter_mut();
        match known.find(|(known, _)| *known == fault) {
            Some((_, count)) => *count += 1,
            None => self.faults.push((fault, 1)),
        }
    }
}
