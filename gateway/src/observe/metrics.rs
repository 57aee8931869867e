//! What Prometheus is told.
//!
//! Every metric is a row of the [`catalogue`], and the bounds of its labels are in [`labels`]. What the
//! hot path touches is a kept handle; looking a label set up would cost more than counting.

pub mod catalogue;
mod credential;
mod derived;
mod family;
pub mod labels;
mod limits;
mod model;
#[cfg(test)]
mod reference;
mod tenant;
pub mod told;

use std::sync::Arc;
use std::time::Duration;

use prometheus::proto::MetricFamily;
use prometheus::{
    Encoder, Error, Gauge, GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, TextEncoder,
};
use turnpike_api::{Fault, Operation, Usage};

use catalogue::*;
use credential::CredentialFamilies;
pub use credential::{CredentialMetrics, standing};
use family::{Families, Family};
pub use limits::limits;
use model::ModelFamilies;
pub use model::{CallError, ModelMetrics};
use tenant::TenantFamilies;
pub use tenant::TenantMetrics;

/// Handles by operation, in the order of [`Operation::ALL`].
type ByOperation<T> = [T; Operation::ALL.len()];

/// The registry and its handles. Cheap to clone.
#[derive(Clone)]
pub struct Metrics(Arc<Handles>);

struct Handles {
    families: Families,
    models: Arc<ModelFamilies>,
    credentials: Arc<CredentialFamilies>,
    tenants: Arc<TenantFamilies>,
    requests: Family<IntCounterVec>,
    good: ByOperation<IntCounter>,
    overhead: Histogram,
    in_flight: IntGauge,
    draining: IntGauge,
    buffered: IntGauge,
    sessions_kept: IntCounter,
    sessions_moved: IntCounter,
    leaked: IntCounter,
    cooldowns: Family<IntCounterVec>,
    recoveries: Family<IntCounterVec>,
    probes: Family<IntCounterVec>,
    waits: Family<IntCounterVec>,
    exhaustions: Family<IntCounterVec>,
    refreshes: Family<IntCounterVec>,
    files: Family<IntGaugeVec>,
    logins: Family<IntCounterVec>,
    renewals: Family<IntCounterVec>,
    key_fetches: Family<IntCounterVec>,
    store: Family<HistogramVec>,
    store_errors: Family<IntCounterVec>,
    reloads: Family<IntCounterVec>,
    spans: Family<IntCounterVec>,
    generation: IntGauge,
    fleet_replicas: IntGauge,
    fleet_configurations: IntGauge,
    reload_good: IntGauge,
    reload_time: Gauge,
}

/// A request that is over.
pub struct Request<'a> {
    /// `None` where the path named none.
    pub operation: Option<Operation>,
    pub status: u16,
    /// Why the gateway refused or cut it; empty = it did not.
    pub reason: &'static str,
    /// How it ended, where that was not well and a provider was called.
    pub error: Option<CallError>,
    pub took: Duration,
    /// From the head to the first of a stream.
    pub first_chunk: Option<Duration>,
    pub usage: Option<Usage>,
    /// The model that was called last.
    pub model: Option<&'a ModelMetrics>,
}

impl Metrics {
    pub fn new() -> Result<Self, Error> {
        let families = Families::new()?;
        let counter = |row| Ok::<_, Error>(families.family::<IntCounterVec>(row)?.with(&[]));
        let gauge = |row| Ok::<_, Error>(families.family::<IntGaugeVec>(row)?.with(&[]));
        let requests: Family<IntCounterVec> = families.family(&REQUESTS)?;
        let sessions: Family<IntCounterVec> = families.family(&SESSIONS)?;
        let build: Family<IntGaugeVec> = families.family(&BUILD)?;
        build.with(&[env!("CARGO_PKG_VERSION")]).set(1);
        Ok(Self(Arc::new(Handles {
            models: Arc::new(ModelFamilies::new(&families)?),
            credentials: Arc::new(CredentialFamilies::new(&families)?),
            tenants: Arc::new(TenantFamilies::new(&families)?),
            good: Operation::ALL.map(|operation| requests.with(&[operation.as_str(), "200", ""])),
            requests,
            overhead: families
                .family::<HistogramVec>(&OVERHEAD_SECONDS)?
                .with(&[]),
            in_flight: gauge(&IN_FLIGHT)?,
            draining: gauge(&DRAINING)?,
            buffered: gauge(&BUFFERED)?,
            sessions_kept: sessions.with(&["kept"]),
            sessions_moved: sessions.with(&["other"]),
            leaked: counter(&LEAKED)?,
            cooldowns: families.family(&COOLDOWNS)?,
            recoveries: families.family(&RECOVERIES)?,
            probes: families.family(&PROBES)?,
            waits: families.family(&WAITS)?,
            exhaustions: families.family(&EXHAUSTIONS)?,
            refreshes: families.family(&REFRESHES)?,
            files: families.family(&FILES)?,
            logins: families.family(&LOGINS)?,
            renewals: families.family(&RENEWALS)?,
            key_fetches: families.family(&KEY_FETCHES)?,
            store: families.family(&STORE_SECONDS)?,
            store_errors: families.family(&STORE_ERRORS)?,
            reloads: families.family(&RELOADS)?,
            spans: families.family(&SPANS)?,
            generation: gauge(&GENERATION)?,
            fleet_replicas: gauge(&FLEET_REPLICAS)?,
            fleet_configurations: gauge(&FLEET_CONFIGURATIONS)?,
            reload_good: gauge(&RELOAD_GOOD)?,
            reload_time: families.family::<GaugeVec>(&RELOAD_TIME)?.with(&[]),
            families,
        })))
    }

    /// Counts a request that is over.
    pub fn ended(&self, ended: &Request<'_>) {
        let (status, reason) = (labels::status(ended.status), ended.reason);
        let Some(operation) = ended.operation else {
            return self.0.requests.with(&["none", status, reason]).inc();
        };
        match ended.status {
            200 if reason.is_empty() => self.0.good[operation as usize].inc(),
            _ => self
                .0
                .requests
                .with(&[operation.as_str(), status, reason])
                .inc(),
        }
        let Some(model) = ended.model else {
            return self.0.models.refused(operation, ended.took);
        };
        model.ended(operation, ended.error, ended.took);
        let Some(usage) = &ended.usage else {
            return;
        };
        model.usage(operation, usage);
        if ended.error.is_none()
            && let Some(first) = ended.first_chunk
        {
            let streamed = ended.took.saturating_sub(first);
            model.per_token(operation, streamed, usage.output);
        }
    }

    pub fn overhead(&self, took: Duration) {
        self.0.overhead.observe(took.as_secs_f64());
    }

    pub fn in_flight(&self) -> &IntGauge {
        &self.0.in_flight
    }

    pub fn draining(&self) {
        self.0.draining.set(1);
    }

    pub fn buffered(&self) -> &IntGauge {
        &self.0.buffered
    }

    /// A credential, or a model of it, is left alone from now on.
    pub fn cooled(&self, provider: &str, fault: Fault, scope: &str) {
        let labels = [provider, fault.as_str(), scope];
        self.0.cooldowns.with(&labels).inc();
    }

    pub fn recovered(&self, provider: &str, by: &str) {
        self.0.recoveries.with(&[provider, by]).inc();
    }

    pub fn probed(&self, provider: &str, result: &str) {
        self.0.probes.with(&[provider, result]).inc();
    }

    pub fn exhausted(&self, provider: &str) {
        self.0.exhaustions.with(&[provider]).inc();
    }

    /// An access token was asked for.
    pub fn refreshed(&self, provider: &str, is_there: bool) {
        self.0.refreshes.with(&[provider, done(is_there)]).inc();
    }

    /// A request waited for a credential; `somebody` came back in time.
    pub fn waited(&self, somebody: bool) {
        let result = if somebody { "served" } else { "given_up" };
        self.0.waits.with(&[result]).inc();
    }

    /// An attempt of a session was made, with the credential it keeps to or another.
    pub fn session(&self, keeps: bool) {
        match keeps {
            true => self.0.sessions_kept.inc(),
            false => self.0.sessions_moved.inc(),
        }
    }

    /// The credential directory was read.
    pub fn credential_files(&self, good: i64, broken: i64) {
        self.0.files.with(&["good"]).set(good);
        self.0.files.with(&["error"]).set(broken);
    }

    /// Somebody logged in, or did not.
    pub fn login(&self, outcome: &str) {
        self.0.logins.with(&[outcome]).inc();
    }

    /// A session was to be renewed.
    pub fn session_renewed(&self, outcome: &str) {
        self.0.renewals.with(&[outcome]).inc();
    }

    /// An issuer was asked for its keys.
    pub fn keys_fetched(&self, are_there: bool) {
        self.0.key_fetches.with(&[done(are_there)]).inc();
    }

    /// The store has answered.
    pub fn store_answered(&self, operation: &str, good: bool, took: Duration) {
        let series = self.0.store.with(&[operation, done(good)]);
        series.observe(took.as_secs_f64());
    }

    pub fn store_failed(&self, what: &str) {
        self.0.store_errors.with(&[what]).inc();
    }

    pub fn lease_leaked(&self) {
        self.0.leaked.inc();
    }

    pub fn leases_leaked(&self) -> u64 {
        self.0.leaked.get()
    }

    /// So many spans were `sent`, `refused`, `lost`, or there was `no_room` for them.
    pub fn spans(&self, result: &'static str, spans: usize) {
        if spans > 0 {
            self.0.spans.with(&[result]).inc_by(spans as u64);
        }
    }

    /// Counts a configuration that was read; `generation` is the one now in force.
    pub fn reloaded(&self, good: bool, generation: u64) {
        self.0.reloads.with(&[done(good)]).inc();
        self.0.reload_good.set(good.into());
        self.0.generation.set(generation.cast_signed());
        if good && let Ok(now) = std::time::SystemTime::UNIX_EPOCH.elapsed() {
            self.0.reload_time.set(now.as_secs_f64());
        }
    }

    /// So many replicas serve by one store, and by so many different configurations.
    pub fn fleet(&self, replicas: usize, configurations: usize) {
        self.0.fleet_replicas.set(replicas as i64);
        self.0.fleet_configurations.set(configurations as i64);
    }

    /// The handles of one credential.
    pub fn credential(&self, provider: &Arc<str>, id: &Arc<str>) -> CredentialMetrics {
        CredentialMetrics::new(self.0.credentials.clone(), provider, id)
    }

    /// One provider's model; `model` as it is labelled.
    pub fn model(&self, provider: &str, model: &str) -> ModelMetrics {
        ModelMetrics::new(self.0.models.clone(), provider, model)
    }

    /// One tenant's callers; `None` = those of none.
    pub fn tenant(&self, name: Option<&str>) -> TenantMetrics {
        TenantMetrics::new(self.0.tenants.clone(), name)
    }

    /// The exposition text: what was counted here, and what others have told.
    pub fn render(&self, told: Vec<MetricFamily>) -> Result<Vec<u8>, Error> {
        let mut all = self.0.families.registry.gather();
        all.extend(self.0.models.derived());
        all.extend(told);
        all.retain(|family| !family.get_metric().is_empty());
        all.sort_by(|one, other| one.name().cmp(other.name()));
        let mut text = Vec::with_capacity(32 * 1024);
        TextEncoder::new().encode(&all, &mut text)?;
        Ok(text)
    }
}

/// The word for whether something was done.
fn done(well: bool) -> &'static str {
    if well { "ok" } else { "failed" }
}

#[cfg(test)]
mod tests;
