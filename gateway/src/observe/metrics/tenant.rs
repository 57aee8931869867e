//! What is told of one tenant's calls, or of those of none.

use std::sync::{Arc, OnceLock};

use prometheus::{Counter, CounterVec, Error, IntCounter, IntCounterVec};
use turnpike_api::Usage;

use super::catalogue::*;
use super::family::{Families, Family};
use crate::record::Ending;

/// The metrics that tell tenants apart.
pub struct TenantFamilies {
    tokens: Family<IntCounterVec>,
    cost: Family<CounterVec>,
    refusals: Family<IntCounterVec>,
}

/// One tenant. Its series are made when there is something to count: a thousand tenants that nobody calls for
/// are none.
pub struct TenantMetrics {
    families: Arc<TenantFamilies>,
    /// Empty = of no tenant.
    name: Box<str>,
    /// Input and output.
    tokens: OnceLock<[IntCounter; 2]>,
    cost: OnceLock<Counter>,
}

impl TenantFamilies {
    pub fn new(families: &Families) -> Result<Self, Error> {
        Ok(Self {
            tokens: families.family(&TENANT_TOKENS)?,
            cost: families.family(&TENANT_COST)?,
            refusals: families.family(&TENANT_REFUSALS)?,
        })
    }
}

impl TenantMetrics {
    pub fn new(families: Arc<TenantFamilies>, name: Option<&str>) -> Self {
        Self {
            families,
            name: name.unwrap_or_default().into(),
            tokens: OnceLock::new(),
            cost: OnceLock::new(),
        }
    }

    /// A request of one of its callers is over; what it cost is in millionths of a US dollar.
    pub fn ended(&self, usage: Option<&Usage>, cost: Option<u64>, ending: Ending) {
        if let Some(usage) = usage {
            self.used(usage);
        }
        if let Some(millionths) = cost {
            let made = || self.families.cost.with(&[&self.name]);
            let cost = self.cost.get_or_init(made);
            cost.inc_by(millionths as f64 / 1_000_000.0);
        }
        if let Some(reason) = ending.reason() {
            let reason = reason.words().reason;
            self.families.refusals.with(&[&self.name, reason]).inc();
        }
    }

    fn used(&self, usage: &Usage) {
        let [input, output] = self.tokens.get_or_init(|| {
            ["input", "output"].map(|kind| self.families.tokens.with(&[&self.name, kind]))
        });
        input.inc_by(usage.input);
        output.inc_by(usage.output);
    }
}
