//! What a credential may use in a period: of one gateway's own counting, or of a bucket that a fleet
//! shares.

use std::sync::Arc;

use arc_swap::ArcSwap;
use turnpike_api::{Calendar, Level, Limit, Measure, OnUnavailable, Period, Window};
use turnpike_config::Schedule;
use turnpike_limits::{Account, Book, Bucket, Rule};

use super::allowance::Allowance;

/// What a credential may use.
pub struct Quota {
    /// Tokens a period; `None` = any number.
    pub limit: Option<u64>,
    pub schedule: Schedule,
    /// What its file says was used, and when the file was written, in milliseconds since 1970.
    pub used: Option<(u64, u64)>,
    /// Where replicas count it together; `None` also for one without a limit.
    pub shared: Option<SharedQuota>,
}

/// A quota as a bucket that all replicas draw from, as from limits.
pub struct SharedQuota {
    /// It is as high as the limit is above what others used, and what was forgiven.
    rule: ArcSwap<Rule>,
    bucket: Arc<Bucket>,
}

impl Quota {
    /// What was used, before this gateway counted, of the period that began at `start`.
    pub fn spent_before(&self, start: u64) -> u64 {
        match self.used {
            Some((tokens, written)) if written >= start => tokens,
            _ => 0,
        }
    }

    /// The rule by which calls take of it, and what was taken in the period that runs, of a credential
    /// with this allowance; `None` where each gateway counts for itself.
    pub fn taken(&self, allowance: &Allowance, book: &Book) -> Option<(Arc<Rule>, Arc<Account>)> {
        let (limit, shared) = (self.limit?, self.shared.as_ref()?);
        let account = book.account(&shared.bucket, &shared.rule.load().limit);
        let start = account.period().start;
        let most = allowance.ceiling(start, limit, self.spent_before(start));
        let rule = shared.rule(most);
        account.follow(&rule.limit);
        Some((rule, account))
    }
}

impl SharedQuota {
    /// Of the credential with this id.
    pub fn new(tenant: &str, id: &str, limit: u64, schedule: &Schedule, book: &Book) -> Self {
        let rule = Rule::new(
            tenant,
            Arc::new(Limit {
                name: Window::QUOTA.into(),
                level: Level::Credential,
                only: None,
                measure: Measure::Tokens,
                window: Window::Calendar(Window::QUOTA, Arc::new(Resets(schedule.clone()))),
                most: limit,
                // What a provider bills is the provider's to stop: while replicas cannot agree, each
                // goes on with its share.
                on_unavailable: OnUnavailable::LocalShare,
            }),
        );
        Self {
            bucket: book.bucket(&rule, id),
            rule: ArcSwap::from_pointee(rule),
        }
    }

    /// The same rule, of so much.
    fn rule(&self, most: u64) -> Arc<Rule> {
        let rule = self.rule.load_full();
        if rule.limit.most == most {
            return rule;
        }
        let rule = Arc::new(rule.of(most));
        self.rule.store(rule.clone());
        rule
    }
}

/// Whether it is a credential's quota, not a limit.
pub fn is_quota(limit: &Limit) -> bool {
    limit.window.as_str() == Window::QUOTA
}

struct Resets(Schedule);

impl Calendar for Resets {
    fn period(&self, now: u64) -> Period {
        let period = self.0.period(now);
        Period {
            start: period.start_ms,
            end: period.end_ms.unwrap_or(u64::MAX),
        }
    }
}
