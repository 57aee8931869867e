//! What one request reads: everything a configuration means, compiled. Immutable; a reload makes
//! another one.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use ipnet::IpNet;
use turnpike_api::Authenticator;
use turnpike_config::plan::{
    DrainPlan, LimitsPlan, QuotaExceededPlan, RetentionPlan, TimeoutsPlan, UnknownModel,
};
use turnpike_credentials::BackOff;

use crate::assemble::GoodFiles;
use crate::assemble::egress::Egress;
use crate::tenant::Tenants;
use crate::tls::Tls;
use crate::traces::Traces;
use crate::upstream::Credential;
use crate::upstream::roll::Enrolled;
use crate::web::management::Terms;

/// A configuration, ready to serve.
pub struct Snapshot {
    pub generation: u64,
    /// Asked in this order.
    pub authenticators: Vec<Arc<dyn Authenticator>>,
    /// What callers of each may do, by whom they are served and what of it they may use.
    pub tenants: Tenants,
    /// No credential is asked for: nothing that identifies callers is configured, and only this
    /// machine can reach the listener.
    pub open: bool,
    /// Every credential, those that cannot be used too.
    pub roll: Vec<Enrolled>,
    /// The credential files that it was made of.
    pub good_files: Arc<GoodFiles>,
    /// How many credentials one request may try.
    pub max_attempts: u32,
    /// How long one request may wait for a credential to come back.
    pub max_retry_interval: Duration,
    pub quota_exceeded: QuotaExceededPlan,
    /// How long a credential that failed is left alone.
    pub back_off: BackOff,
    /// How often one is looked at meanwhile.
    pub probe_interval: Duration,
    /// How long a session keeps to its credential after its last call; `None` = not at all.
    pub affinity: Option<Duration>,
    /// Streams that a quota needs the usage of are asked for it.
    pub inject_usage: bool,
    pub limits: LimitsPlan,
    /// What becomes of calls for models without a price, where money is limited.
    pub unknown_model: UnknownModel,
    /// Of refusals for a budget that is spent.
    pub spent_status: u16,
    pub timeouts: TimeoutsPlan,
    pub drain: DrainPlan,
    /// TLS for the proxy listener's next connections; `None` = clear text.
    pub tls: Option<Tls>,
    /// Headers in which callers say who they are, unchecked: on record, and told to no provider.
    pub claimed_headers: Box<[HeaderName]>,
    /// Where spans go; `None` = there are none.
    pub traces: Option<Traces>,
    pub trusted_proxies: Vec<IpNet>,
    /// Of web pages that may call models.
    pub allowed_origins: Vec<HeaderValue>,
    /// How long the store keeps what it need not.
    pub retention: RetentionPlan,
    /// What the management API works by.
    pub management: Terms,
    /// How calls that are no credential's leave.
    pub egress: Egress,
}

impl Snapshot {
    /// The credentials that calls may use.
    pub fn usable(&self) -> impl Iterator<Item = &Arc<Credential>> {
        self.roll.iter().filter_map(Enrolled::credential)
    }
}
