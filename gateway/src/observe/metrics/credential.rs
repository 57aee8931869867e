//! What is told of one upstream credential.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prometheus::proto::MetricFamily;
use prometheus::{Error, Histogram, HistogramVec, IntCounter, IntCounterVec};
use turnpike_api::Fault;

use super::catalogue::*;
use super::family::{Families, Family};
use super::told::told;
use crate::upstream::roll::Enrolled;

/// The metrics that tell credentials apart.
pub struct CredentialFamilies {
    attempts: Family<IntCounterVec>,
    answer: Family<HistogramVec>,
}

/// One credential. Its series are made when it is first used: a configuration that is not taken over
/// leaves none behind.
#[derive(Clone)]
pub struct CredentialMetrics {
    families: Arc<CredentialFamilies>,
    good: OnceLock<IntCounter>,
    answers: OnceLock<Histogram>,
    provider: Arc<str>,
    id: Arc<str>,
}

impl CredentialFamilies {
    pub fn new(families: &Families) -> Result<Self, Error> {
        Ok(Self {
            attempts: families.family(&ATTEMPTS)?,
            answer: families.family(&ANSWER_SECONDS)?,
        })
    }
}

impl CredentialMetrics {
    pub fn new(families: Arc<CredentialFamilies>, provider: &Arc<str>, id: &Arc<str>) -> Self {
        Self {
            families,
            good: OnceLock::new(),
            answers: OnceLock::new(),
            provider: provider.clone(),
            id: id.clone(),
        }
    }

    pub fn good(&self) {
        self.good.get_or_init(|| self.series("ok")).inc();
    }

    /// The provider answered, however, after this time.
    pub fn answered(&self, after: Duration) {
        let answers = || self.families.answer.with(&[&self.provider]);
        self.answers
            .get_or_init(answers)
            .observe(after.as_secs_f64());
    }

    pub fn failed(&self, fault: Fault) {
        self.outcome(fault.as_str());
    }

    /// `outcome` is one of a closed set of words.
    pub fn outcome(&self, outcome: &'static str) {
        self.series(outcome).inc();
    }

    fn series(&self, outcome: &str) -> IntCounter {
        let attempts = &self.families.attempts;
        attempts.with(&[&self.provider, &self.id, outcome])
    }
}

/// How all of them stand.
pub fn standing(roll: &[Enrolled], now: u64) -> Vec<MetricFamily> {
    let states = roll.iter().map(|one| {
        let state = one.report(now).status.as_str();
        (vec![&*one.provider, &*one.id, state], 1.0)
    });
    let left = roll.iter().filter_map(|one| {
        let credential = one.credential()?;
        let limit = credential.quota.limit?;
        let left = limit.saturating_sub(credential.standing.allowance.spent());
        Some((vec![&*one.provider, &*one.id], left as f64))
    });
    vec![told(&STATES, states), told(&QUOTA_LEFT, left)]
}
