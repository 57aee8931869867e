//! A limit and one subject of it, from period to period.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, Guard};
use turnpike_api::{Limit, Period, Window};

use crate::Account;

/// A limit and one subject of it. It has one account at a time: that of the running period.
pub struct Bucket {
    account: ArcSwap<Account>,
    rolling: Mutex<()>,
}

impl Bucket {
    pub(crate) fn new(name: Arc<str>, limit: &Limit, now: u64) -> Self {
        let account = Account::new(name, limit, period(limit, now));
        Self {
            account: ArcSwap::from_pointee(account),
            rolling: Mutex::new(()),
        }
    }

    /// The account of the period that runs.
    pub(crate) fn account(&self, limit: &Limit, now: u64) -> Guard<Arc<Account>> {
        let account = self.account.load();
        match account.period().contains(now) {
            true => account,
            false => self.roll(limit, now),
        }
    }

    /// The newest account.
    pub(crate) fn newest(&self) -> Guard<Arc<Account>> {
        self.account.load()
    }

    /// Begins the period that `now` is in. Of a period that a clock which was ahead has begun too
    /// soon, nothing was granted: the one before it goes on with what was used of it. Where something
    /// was, the store has said that it runs.
    #[cold]
    fn roll(&self, limit: &Limit, now: u64) -> Guard<Arc<Account>> {
        let _rolling = self.rolling.lock().unwrap_or_else(PoisonError::into_inner);
        let account = self.account.load();
        let period = period(limit, now);
        let (goes_back, is_pristine) =
            (period.start < account.period().start, account.is_pristine());
        if period == account.period() || (goes_back && !is_pristine) {
            return account;
        }
        let before = is_pristine.then(|| account.before()).flatten();
        let before = before.unwrap_or_else(|| account.clone());
        let next = match before.period() == period {
            true => before,
            false => Arc::new(Account::after(before, limit, period)),
        };
        self.account.store(next);
        self.account.load()
    }
}

fn period(limit: &Limit, now: u64) -> Period {
    match &limit.window {
        Window::Calendar(_, calendar) => calendar.period(now),
        Window::Running | Window::Sliding(_) | Window::Total => Period::ENDLESS,
    }
}
