//! The provider's own count of the usage it told its callers: what a test of
//! settlement compares the gateway's books with.

use std::collections::HashMap;
use std::ops::AddAssign;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Usage that left in answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Calls whose caller was told any usage.
    pub calls: u64,
    pub input_tokens: u64,
    pub output_tokens: u64,
}

impl Totals {
    pub(crate) const NONE: Self = Self {
        calls: 0,
        input_tokens: 0,
        output_tokens: 0,
    };

    /// All of a call's usage in one place.
    pub(crate) fn one(input_tokens: u64, output_tokens: u64) -> Self {
        Self {
            calls: 1,
            input_tokens,
            output_tokens,
        }
    }

    /// More output of a call that already told its input.
    pub(crate) fn more(output_tokens: u64) -> Self {
        Self {
            calls: 0,
            input_tokens: 0,
            output_tokens,
        }
    }
}

impl AddAssign for Totals {
    fn add_assign(&mut self, told: Self) {
        self.calls += told.calls;
        self.input_tokens += told.input_tokens;
        self.output_tokens += told.output_tokens;
    }
}

/// Calls that are being answered, and the most that were at a time.
#[derive(Default)]
pub(crate) struct Running {
    now: AtomicU64,
    most: AtomicU64,
}

impl Running {
    pub(crate) fn begins(&self) {
        let now = self.now.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(now, Ordering::Relaxed);
    }

    pub(crate) fn ends(&self) {
        self.now.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn most(&self) -> u64 {
        self.most.load(Ordering::Relaxed)
    }
}

#[derive(Default)]
pub(crate) struct Books {
    by_key: Mutex<HashMap<String, Totals>>,
}

impl Books {
    pub(crate) fn add(&self, key: &str, told: Totals) {
        if told == Totals::NONE {
            return;
        }
        let mut books = self.lock();
        match books.get_mut(key) {
            Some(totals) => *totals += told,
            None => drop(books.insert(key.to_owned(), told)),
        }
    }

    pub(crate) fn of(&self, key: &str) -> Totals {
        self.lock().get(key).copied().unwrap_or_default()
    }

    pub(crate) fn sum(&self) -> Totals {
        self.lock().values().fold(Totals::NONE, |mut sum, totals| {
            sum += *totals;
            sum
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Totals>> {
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
