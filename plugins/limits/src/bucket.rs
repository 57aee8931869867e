//! A limit and one subject of it, from period to period.

use std::sync::Arc;

use turnpike_api::{Limit, Measure, Period, Window};

use crate::Account;

/// A limit and one subject of it. The book keeps it as long as anybody has it.
pub struct Bucket {
    hash: u64,
    /// The rule's name.
    pub(crate) rule: Arc<str>,
    pub(crate) subject: Box<str>,
}

/// What tells buckets apart.
#[derive(Clone, Copy)]
pub(crate) struct Key<'a> {
    /// Of the other two.
    pub(crate) hash: u64,
    /// The rule's name.
    pub(crate) rule: &'a Arc<str>,
    pub(crate) subject: &'a str,
}

/// A bucket as the book keeps it. It has one account at a time: that of the running period.
pub(crate) struct Slot {
    pub(crate) bucket: Arc<Bucket>,
    pub(crate) measure: Measure,
    account: Arc<Account>,
}

impl Bucket {
    pub(crate) fn key(&self) -> Key<'_> {
        Key {
            hash: self.hash,
            rule: &self.rule,
            subject: &self.subject,
        }
    }
}

impl Slot {
    pub(crate) fn new(key: Key<'_>, limit: &Limit, now: u64) -> Self {
        let account = Account::new(name(key), limit, period(limit, now));
        Self {
            bucket: Arc::new(Bucket {
                hash: key.hash,
                rule: key.rule.clone(),
                subject: key.subject.into(),
            }),
            measure: limit.measure,
            account: Arc::new(account),
        }
    }

    pub(crate) fn hash(&self) -> u64 {
        self.bucket.hash
    }

    pub(crate) fn is_of(&self, key: Key<'_>) -> bool {
        let Bucket { rule, subject, .. } = &*self.bucket;
        // Until a reload it is the very same name, and need not be read.
        let is_of_rule = Arc::ptr_eq(rule, key.rule) || rule == key.rule;
        is_of_rule && **subject == *key.subject
    }

    /// The newest account.
    pub(crate) fn newest(&self) -> &Arc<Account> {
        &self.account
    }

    /// The account, unless its period does not run at `now`.
    pub(crate) fn running(&self, now: u64) -> Option<&Arc<Account>> {
        let account = &self.account;
        account.period().contains(now).then_some(account)
    }

    /// Begins the period that `now` is in, unless it runs. Of a period that a clock which was ahead
    /// has begun too soon, nothing was granted: the one before it goes on with what was used of it.
    /// Where something was, the store has said that it runs.
    pub(crate) fn roll(&mut self, limit: &Limit, now: u64) {
        if self.running(now).is_some() {
            return;
        }
        let (account, period) = (&self.account, period(limit, now));
        let (goes_back, is_pristine) =
            (period.start < account.period().start, account.is_pristine());
        if period == account.period() || (goes_back && !is_pristine) {
            return;
        }
        let before = is_pristine.then(|| account.before()).flatten();
        let before = before.unwrap_or_else(|| account.clone());
        self.account = match before.period() == period {
            true => before,
            false => Arc::new(Account::after(before, limit, period)),
        };
    }
}

/// Under which the store keeps a bucket: a person leaves no name there, only what was used in the
/// periods that run.
fn name(key: Key<'_>) -> Arc<str> {
    let digest = blake3::hash(key.subject.as_bytes()).to_hex();
    format!("{}{}", key.rule, &digest[..32]).into()
}

fn period(limit: &Limit, now: u64) -> Period {
    match &limit.window {
        Window::Calendar(_, calendar) => calendar.period(now),
        Window::Running | Window::Sliding(_) | Window::Total => Period::ENDLESS,
    }
}
