//! What a call takes of all of its limits: together, before it is made; settled by what it used.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use turnpike_api::{Limit, Measure, Window};

use crate::account::Account;
use crate::book::Book;

/// What a call is expected to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// Tokens of the prompt.
    pub input: u64,
    /// Tokens of the answer.
    pub output: u64,
    /// Millionths of a US dollar.
    pub cost: u64,
}

impl Expected {
    /// The same, with so many tokens in all at most.
    pub fn at_most(self, tokens: u64) -> Self {
        let input = self.input.min(tokens);
        Self {
            input,
            output: self.output.min(tokens - input),
            ..self
        }
    }

    /// What it takes of a limit. At least one: a call that is expected to use nothing does not pass a
    /// limit that is spent. At most all of it: agents ask for room that they seldom use, and a small
    /// limit must not shut them out for good.
    pub(crate) fn units(&self, limit: &Limit) -> u64 {
        let units = match limit.measure {
            Measure::Requests | Measure::Concurrency => 1,
            Measure::Tokens => self.input.saturating_add(self.output),
            Measure::InputTokens => self.input,
            Measure::OutputTokens => self.output,
            Measure::Usd => self.cost,
        };
        units.min(limit.most).max(1)
    }
}

/// What a call used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Tokens of the prompt.
    pub input: u64,
    /// Tokens of the answer.
    pub output: u64,
    /// Millionths of a US dollar.
    pub cost: u64,
}

/// Why a call is not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Nothing is left, or less than it needs.
    Spent,
    /// The store is away, and this replica's own share is used up.
    Share,
    /// The store is away, and the limit says to refuse then.
    Away,
    /// The same, for the store has not been reached since the process began: how many share the limit
    /// is not known.
    Unheard,
}

/// The limit that a call was not admitted by.
#[derive(Clone, Debug)]
pub struct Fallen {
    /// Which.
    pub limit: Arc<Limit>,
    /// Whose.
    pub subject: Box<str>,
    /// Why.
    pub why: Why,
    /// What is left of it, as far as is known.
    pub remaining: u64,
    /// What the call would take.
    pub needs: u64,
    /// What calls that run here may still give back.
    pub running: u64,
    /// The first millisecond of its next period; `None` = it has no periods.
    pub resets_at: Option<u64>,
}

impl Fallen {
    /// Of two, the one that there is something of first; running calls end at any time.
    pub fn sooner(self, other: Option<Self>) -> Self {
        let at = |fallen: &Self| match fallen.limit.window {
            Window::Running | Window::Sliding(_) => 0,
            Window::Calendar(..) | Window::Total => fallen.resets_at.unwrap_or(u64::MAX),
        };
        match other {
            Some(other) if at(&other) < at(&self) => other,
            _ => self,
        }
    }
}

/// Taken of one bucket.
pub(crate) struct Hold {
    pub(crate) account: Arc<Account>,
    pub(crate) limit: Arc<Limit>,
    pub(crate) units: u64,
    /// When it slides out of its window, where it does.
    pub(crate) until: u64,
}

impl Hold {
    pub(crate) fn give_back(&self) {
        self.account.give_back(self.units, self.until);
    }
}

/// What a call took of all of its limits. Dropped, it is settled: by what was [spent](Self::spend)
/// meanwhile, or by nothing when it was never sent.
pub struct Reservation {
    book: Arc<Book>,
    holds: Vec<Hold>,
    sent: AtomicBool,
    input: AtomicU64,
    output: AtomicU64,
    cost: AtomicU64,
}

impl Reservation {
    pub(crate) fn new(book: Arc<Book>, holds: Vec<Hold>) -> Self {
        Self {
            book,
            holds,
            sent: AtomicBool::new(false),
            input: AtomicU64::new(0),
            output: AtomicU64::new(0),
            cost: AtomicU64::new(0),
        }
    }

    /// The call goes to a provider: it counts as one from now on, whatever becomes of it.
    pub fn sent(&self) {
        self.sent.store(true, Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(crate) fn not_sent(&self) {
        self.sent.store(false, Ordering::Relaxed);
    }

    /// The call used so much more.
    pub fn spend(&self, more: Spent) {
        // What a provider says may be any number.
        let sane = |said: u64| said.min(1 << 48);
        self.input.fetch_add(sane(more.input), Ordering::Relaxed);
        self.output.fetch_add(sane(more.output), Ordering::Relaxed);
        self.cost.fetch_add(sane(more.cost), Ordering::Relaxed);
    }

    /// The limits, with what is left of each.
    pub fn limits(&self) -> impl Iterator<Item = (&Limit, &Account)> {
        self.holds.iter().map(|hold| (&*hold.limit, &*hold.account))
    }

    fn used(&self, measure: Measure) -> u64 {
        let sent = u64::from(self.sent.load(Ordering::Relaxed));
        let input = self.input.load(Ordering::Relaxed);
        let output = self.output.load(Ordering::Relaxed);
        match measure {
            Measure::Requests | Measure::Concurrency => sent,
            Measure::Tokens => input.saturating_add(output),
            Measure::InputTokens => input,
            Measure::OutputTokens => output,
            Measure::Usd => self.cost.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let sent = self.sent.load(Ordering::Relaxed);
        for hold in &self.holds {
            match sent {
                true => {
                    let used = self.used(hold.limit.measure);
                    hold.account.settle(hold.units, used, || self.book.moment());
                }
                false => hold.give_back(),
            }
            self.book.stirred(&hold.account);
        }
    }
}
