//! The metric catalogue. Every name and label set stands here.
//!
//! Labels come from bounded sets only: operations, statuses and reasons are enums, providers and
//! credentials are the configuration's, and a model that no listing names is `other`. What the
//! hot path touches is a kept handle; looking a label set up would cost more than counting.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{
    Encoder, Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};
use turnpike_api::{Fault, Operation, Usage};

use crate::upstream::roll::Enrolled;

/// Seconds of a whole request: OpenTelemetry's GenAI buckets, on to the longest stream allowed.
const DURATION: &[f64] = &[
    0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92, 163.84,
    327.68, 600.0,
];

/// Seconds the gateway itself adds.
const OVERHEAD: &[f64] = &[
    0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
    0.1, 0.25,
];

/// Handles by operation, in the order of [`Operation::ALL`].
type ByOperation<T> = [T; Operation::ALL.len()];

/// The registry and its handles. Cheap to clone.
#[derive(Clone)]
pub struct Metrics(Arc<Families>);

struct Families {
    registry: Registry,
    requests: IntCounterVec,
    good: ByOperation<IntCounter>,
    duration: ByOperation<Histogram>,
    first_chunk: ByOperation<Histogram>,
    overhead: Histogram,
    in_flight: IntGauge,
    buffered: IntGauge,
    tokens: IntCounterVec,
    usage_missing: IntCounterVec,
    attempts: IntCounterVec,
    answer: HistogramVec,
    leaked: IntCounter,
    rendering: Mutex<()>,
    cooldowns: IntCounterVec,
    recoveries: IntCounterVec,
    probes: IntCounterVec,
    exhaustions: IntCounterVec,
    states: IntGaugeVec,
    quota_left: IntGaugeVec,
    waits: IntCounterVec,
    sessions: IntCounterVec,
    files: IntGaugeVec,
    store_errors: IntCounterVec,
    computations: IntCounterVec,
    reloads: IntCounterVec,
    spans: IntCounterVec,
    generation: IntGauge,
    reload_good: IntGauge,
    reload_time: Gauge,
}

/// One credential. Its series are made when it is first used: a configuration that is not taken
/// over leaves none behind.
#[derive(Clone)]
pub struct CredentialMetrics {
    good: OnceLock<IntCounter>,
    attempts: IntCounterVec,
    answer: HistogramVec,
    answers: OnceLock<Histogram>,
    provider: Arc<str>,
    id: Arc<str>,
}

/// One provider's model. Its handles are made when it is first used: a listing of a thousand
/// models is not ten thousand series of nought.
#[derive(Clone)]
pub struct TokenMetrics(Arc<OfModel>);

struct OfModel {
    tokens: IntCounterVec,
    usage_missing: IntCounterVec,
    provider: Box<str>,
    model: Box<str>,
    handles: OnceLock<TokenHandles>,
}

struct TokenHandles {
    input: IntCounter,
    output: IntCounter,
    cache_read: IntCounter,
    cache_write: IntCounter,
    reasoning: IntCounter,
}

impl Metrics {
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let duration = histograms(
            &registry,
            "turnpike_request_duration_seconds",
            "Time from a request's head to the last byte of its answer.",
            DURATION,
        )?;
        let first_chunk = histograms(
            &registry,
            "turnpike_time_to_first_chunk_seconds",
            "Time from a request's head to the first byte of a streamed answer's body.",
            DURATION,
        )?;
        let requests = counters(
            &registry,
            "turnpike_requests_total",
            "Requests answered, by operation, status and, where the gateway refused, reason.",
            &["operation", "status", "reason"],
        )?;
        let reloads = counters(
            &registry,
            "turnpike_config_reloads_total",
            "Configurations read, by whether they were taken over.",
            &["result"],
        )?;
        let build = IntGauge::with_opts(
            Opts::new("turnpike_build_info", "1, with the version as a label.")
                .const_label("version", env!("CARGO_PKG_VERSION")),
        )?;
        registered(&registry, &build)?.set(1);
        let per_operation =
            |vec: &HistogramVec| Operation::ALL.map(|op| vec.with_label_values(&[op.as_str()]));
        Ok(Self(Arc::new(Families {
            good: Operation::ALL.map(|op| requests.with_label_values(&[op.as_str(), "200", ""])),
            duration: per_operation(&duration),
            first_chunk: per_operation(&first_chunk),
            overhead: registered(
                &registry,
                &Histogram::with_opts(
                    HistogramOpts::new(
                        "turnpike_overhead_seconds",
                        "Time the gateway itself took until the answer was under way: without waiting for the caller's body or the provider.",
                    )
                    .buckets(OVERHEAD.to_vec()),
                )?,
            )?,
            in_flight: gauge(&registry, "turnpike_requests_in_flight", "Requests being served.")?,
            buffered: gauge(
                &registry,
                "turnpike_request_body_bytes",
                "Bytes of request bodies held, of at most `server.limits.max_buffered`.",
            )?,
            tokens: counters(
                &registry,
                "turnpike_tokens_total",
                "Tokens as providers counted them. cache_read and cache_write are parts of input, reasoning is part of output.",
                &["provider", "model", "kind"],
            )?,
            usage_missing: counters(
                &registry,
                "turnpike_usage_missing_total",
                "Good answers that stated no usage though their kind does.",
                &["provider", "model"],
            )?,
            attempts: counters(
                &registry,
                "turnpike_upstream_attempts_total",
                "Calls of providers, by what became of them.",
                &["provider", "credential", "outcome"],
            )?,
            answer: {
                let opts = HistogramOpts::new(
                    "turnpike_upstream_answer_seconds",
                    "Time from taking a connection to the head of a provider's answer, or a stream's first event.",
                );
                let opts = opts.buckets(DURATION.to_vec());
                registered(&registry, &HistogramVec::new(opts, &["provider"])?)?
            },
            leaked: registered(
                &registry,
                &IntCounter::new("turnpike_leases_leaked_total", "Leases dropped without being settled: a bug.")?,
            )?,
            rendering: Mutex::default(),
            cooldowns: counters(
                &registry,
                "turnpike_credential_cooldowns_total",
                "Windows in which a credential, or one model of it, is left alone, by what began them.",
                &["provider", "fault", "scope"],
            )?,
            recoveries: counters(
                &registry,
                "turnpike_credential_recoveries_total",
                "Cooldowns that ended before their time or were cleared, by what showed that they were over.",
                &["provider", "by"],
            )?,
            probes: counters(
                &registry,
                "turnpike_credential_probes_total",
                "Unbilled calls that look whether a failing credential is well again, by what came of them.",
                &["provider", "result"],
            )?,
            exhaustions: counters(
                &registry,
                "turnpike_credential_quota_exhaustions_total",
                "How often the quota of a credential ran out.",
                &["provider"],
            )?,
            states: {
                let opts = Opts::new(
                    "turnpike_credential_state",
                    "1 for the state each credential is in: active, cooling, exhausted, expired, disabled or error.",
                );
                let labels = ["provider", "credential", "state"];
                registered(&registry, &IntGaugeVec::new(opts, &labels)?)?
            },
            quota_left: {
                let opts = Opts::new(
                    "turnpike_credential_quota_remaining_tokens",
                    "Tokens left of a credential's quota in the running period, of those that have one.",
                );
                registered(&registry, &IntGaugeVec::new(opts, &["provider", "credential"])?)?
            },
            waits: counters(
                &registry,
                "turnpike_credential_waits_total",
                "Requests that waited for a credential to come back, by what came of it.",
                &["result"],
            )?,
            sessions: counters(
                &registry,
                "turnpike_session_affinity_total",
                "Attempts of requests that name a session: with the credential it keeps to, or with another.",
                &["result"],
            )?,
            files: {
                let opts = Opts::new(
                    "turnpike_credential_files",
                    "Files of the credential directory: good, or with a problem.",
                );
                registered(&registry, &IntGaugeVec::new(opts, &["state"])?)?
            },
            store_errors: counters(
                &registry,
                "turnpike_store_errors_total",
                "What the store did not do, by what it was about.",
                &["what"],
            )?,
            computations: counters(
                &registry,
                "turnpike_identity_computations_total",
                "Hashes of agent tokens and signatures of signed tokens that were computed to know a caller.",
                &["kind"],
            )?,
            spans: counters(
                &registry,
                "turnpike_trace_spans_total",
                "Spans of traces: sent, refused by the collector, or dropped: for want of room, or lost at the end.",
                &["result"],
            )?,
            generation: gauge(&registry, "turnpike_config_generation", "Configurations taken over since start.")?,
            reload_good: gauge(
                &registry,
                "turnpike_config_last_reload_successful",
                "1 when the last configuration read was taken over.",
            )?,
            reload_time: registered(
                &registry,
                &Gauge::new(
                    "turnpike_config_last_reload_success_timestamp_seconds",
                    "When a configuration was last taken over.",
                )?,
            )?,
            reloads,
            requests,
            registry,
        })))
    }

    /// A credential, or a model of it, is left alone from now on.
    pub fn cooled(&self, provider: &str, fault: Fault, scope: &str) {
        let labels = [provider, fault.as_str(), scope];
        self.0.cooldowns.with_label_values(&labels).inc();
    }

    pub fn recovered(&self, provider: &str, by: &str) {
        self.0.recoveries.with_label_values(&[provider, by]).inc();
    }

    pub fn probed(&self, provider: &str, result: &str) {
        self.0.probes.with_label_values(&[provider, result]).inc();
    }

    pub fn exhausted(&self, provider: &str) {
        self.0.exhaustions.with_label_values(&[provider]).inc();
    }

    /// A request waited for a credential; `somebody` came back in time.
    pub fn waited(&self, somebody: bool) {
        let result = if somebody { "served" } else { "given_up" };
        self.0.waits.with_label_values(&[result]).inc();
    }

    /// An attempt of a session was made, with the credential it keeps to or another.
    pub fn session(&self, keeps: bool) {
        let result = if keeps { "kept" } else { "other" };
        self.0.sessions.with_label_values(&[result]).inc();
    }

    /// The credential directory was read.
    pub fn credential_files(&self, good: i64, broken: i64) {
        self.0.files.with_label_values(&["good"]).set(good);
        self.0.files.with_label_values(&["error"]).set(broken);
    }

    /// So many spans were `sent`, `refused`, `lost`, or there was `no_room` for them.
    pub fn spans(&self, result: &'static str, spans: usize) {
        if spans > 0 {
            let counter = self.0.spans.with_label_values(&[result]);
            counter.inc_by(spans as u64);
        }
    }

    pub fn store_failed(&self, what: &str) {
        self.0.store_errors.with_label_values(&[what]).inc();
    }

    /// The exposition text, with how the credentials stand now, and how many computations those who
    /// keep the count had by now.
    pub fn render_with(
        &self,
        roll: &[Enrolled],
        computed: [(&str, u64); 2],
        now: u64,
    ) -> Result<Vec<u8>, prometheus::Error> {
        // Two that are rendered at once would count the same twice.
        let _alone = self
            .0
            .rendering
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for (kind, count) in computed {
            let told = self.0.computations.with_label_values(&[kind]);
            told.inc_by(count.saturating_sub(told.get()));
        }
        self.0.states.reset();
        self.0.quota_left.reset();
        for enrolled in roll {
            let state = enrolled.report(now).status.as_str();
            let (provider, id) = (&*enrolled.provider, &*enrolled.id);
            self.0
                .states
                .with_label_values(&[provider, id, state])
                .set(1);
            if let Some(credential) = enrolled.credential()
                && let Some(limit) = credential.quota.limit
            {
                let left = limit.saturating_sub(credential.standing.allowance.spent());
                let left = i64::try_from(left).unwrap_or(i64::MAX);
                self.0
                    .quota_left
                    .with_label_values(&[provider, id])
                    .set(left);
            }
        }
        self.render()
    }

    fn render(&self) -> Result<Vec<u8>, prometheus::Error> {
        let mut text = Vec::with_capacity(16 * 1024);
        TextEncoder::new().encode(&self.0.registry.gather(), &mut text)?;
        Ok(text)
    }

    /// Counts one answered request. `operation` is `None` where the path named none.
    pub fn answered(
        &self,
        operation: Option<Operation>,
        status: u16,
        reason: &'static str,
        took: Duration,
    ) {
        let Some(operation) = operation else {
            self.0
                .requests
                .with_label_values(&["none", status_label(status), reason])
                .inc();
            return;
        };
        let at = operation as usize;
        if status == 200 && reason.is_empty() {
            self.0.good[at].inc();
        } else {
            self.0
                .requests
                .with_label_values(&[operation.as_str(), status_label(status), reason])
                .inc();
        }
        self.0.duration[at].observe(took.as_secs_f64());
    }

    pub fn first_chunk(&self, operation: Operation, after: Duration) {
        self.0.first_chunk[operation as usize].observe(after.as_secs_f64());
    }

    pub fn overhead(&self, took: Duration) {
        self.0.overhead.observe(took.as_secs_f64());
    }

    pub fn in_flight(&self) -> &IntGauge {
        &self.0.in_flight
    }

    pub fn buffered(&self) -> &IntGauge {
        &self.0.buffered
    }

    pub fn lease_leaked(&self) {
        self.0.leaked.inc();
    }

    pub fn leases_leaked(&self) -> u64 {
        self.0.leaked.get()
    }

    /// Counts a configuration that was read; `generation` is the one now in force.
    pub fn reloaded(&self, good: bool, generation: u64) {
        self.0
            .reloads
            .with_label_values(&[if good { "ok" } else { "failed" }])
            .inc();
        self.0.reload_good.set(good.into());
        self.0.generation.set(generation.cast_signed());
        if good && let Ok(now) = std::time::SystemTime::UNIX_EPOCH.elapsed() {
            self.0.reload_time.set(now.as_secs_f64());
        }
    }

    /// The handles of one credential.
    pub fn credential(&self, provider: &Arc<str>, id: &Arc<str>) -> CredentialMetrics {
        CredentialMetrics {
            good: OnceLock::new(),
            attempts: self.0.attempts.clone(),
            answer: self.0.answer.clone(),
            answers: OnceLock::new(),
            provider: provider.clone(),
            id: id.clone(),
        }
    }

    /// One provider's model; `model` from a bounded set.
    pub fn tokens(&self, provider: &str, model: &str) -> TokenMetrics {
        TokenMetrics(Arc::new(OfModel {
            tokens: self.0.tokens.clone(),
            usage_missing: self.0.usage_missing.clone(),
            provider: provider.into(),
            model: model.into(),
            handles: OnceLock::new(),
        }))
    }
}

impl CredentialMetrics {
    pub fn good(&self) {
        self.good.get_or_init(|| self.series("ok")).inc();
    }

    /// The provider answered, however, after this time.
    pub fn answered(&self, after: Duration) {
        let answers = || self.answer.with_label_values(&[&*self.provider]);
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
        self.attempts
            .with_label_values(&[&*self.provider, &*self.id, outcome])
    }
}

impl TokenMetrics {
    pub fn used(&self, usage: &Usage) {
        let of = &self.0;
        let handles = of.handles.get_or_init(|| {
            let kind = |kind| {
                of.tokens
                    .with_label_values(&[&*of.provider, &*of.model, kind])
            };
            TokenHandles {
                input: kind("input"),
                output: kind("output"),
                cache_read: kind("cache_read"),
                cache_write: kind("cache_write"),
                reasoning: kind("reasoning"),
            }
        });
        let count = |counter: &IntCounter, tokens| {
            if tokens > 0 {
                counter.inc_by(tokens);
            }
        };
        count(&handles.input, usage.input);
        count(&handles.output, usage.output);
        count(&handles.cache_read, usage.cache_read);
        count(&handles.cache_write, usage.cache_write);
        count(&handles.reasoning, usage.reasoning);
    }

    pub fn missing(&self) {
        let of = &self.0;
        of.usage_missing
            .with_label_values(&[&*of.provider, &*of.model])
            .inc();
    }
}

/// Statuses as labels without formatting; what no gateway or vendor sends is `other`.
fn status_label(status: u16) -> &'static str {
    match status {
        200 => "200",
        201 => "201",
        202 => "202",
        204 => "204",
        400 => "400",
        401 => "401",
        402 => "402",
        403 => "403",
        404 => "404",
        405 => "405",
        408 => "408",
        409 => "409",
        413 => "413",
        415 => "415",
        422 => "422",
        429 => "429",
        499 => "499",
        500 => "500",
        502 => "502",
        503 => "503",
        504 => "504",
        529 => "529",
        _ => "other",
    }
}

fn registered<C: Collector + Clone + 'static>(
    registry: &Registry,
    metric: &C,
) -> Result<C, prometheus::Error> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric.clone())
}

fn gauge(registry: &Registry, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
    registered(registry, &IntGauge::new(name, help)?)
}

fn counters(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<IntCounterVec, prometheus::Error> {
    registered(
        registry,
        &IntCounterVec::new(Opts::new(name, help), labels)?,
    )
}

fn histograms(
    registry: &Registry,
    name: &str,
    help: &str,
    buckets: &[f64],
) -> Result<HistogramVec, prometheus::Error> {
    let opts = HistogramOpts::new(name, help).buckets(buckets.to_vec());
    registered(registry, &HistogramVec::new(opts, &["operation"])?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_index_their_handles() {
        for (at, operation) in Operation::ALL.into_iter().enumerate() {
            assert_eq!(operation as usize, at);
        }
    }

    #[test]
    fn odd_statuses_do_not_grow_the_series() {
        let metrics = Metrics::new().unwrap();
        for status in 100..=999 {
            metrics.answered(Some(Operation::Messages), status, "", Duration::ZERO);
        }
        let text = String::from_utf8(metrics.render().unwrap()).unwrap();
        let series = text
            .lines()
            .filter(|line| line.starts_with("turnpike_requests_total{"))
            .count();
        assert!(series < 40, "{series} series");
    }
}
