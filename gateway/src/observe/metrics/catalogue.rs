//! Every metric that the gateway tells: a row each. What is registered, the page
//! `docs/reference/metrics.md` and the checks of dashboards and alerts are made of these rows.

use super::labels::*;

/// One metric.
#[derive(Clone, Copy)]
pub struct Metric {
    pub name: &'static str,
    pub kind: Kind,
    pub unit: Unit,
    pub labels: &'static [Label],
    pub help: &'static str,
}

#[derive(Clone, Copy)]
pub enum Kind {
    Counter,
    Gauge,
    /// With the upper bounds of its buckets.
    Histogram(&'static [f64]),
}

/// What a value is a number of. Prometheus wants it in the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Of what the name says.
    Things,
    /// 1 where it is so.
    Truth,
    Seconds,
    /// Seconds since 1970.
    Time,
    Bytes,
    Tokens,
    Dollars,
}

/// Metrics that belong together.
pub struct Section {
    pub title: &'static str,
    pub metrics: &'static [Metric],
}

/// Seconds of a whole request: OpenTelemetry's GenAI buckets, on to the longest stream allowed.
const DURATION: &[f64] = &[
    0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92, 163.84,
    327.68, 600.0,
];

/// Seconds the gateway itself adds.
const ADDED: &[f64] = &[
    0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
    0.1, 0.25,
];

/// Seconds to the first token: OpenTelemetry's buckets, on to models that think for long.
const FIRST_TOKEN: &[f64] = &[
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
    30.0, 60.0, 120.0,
];

/// Seconds for each token after it: OpenTelemetry's.
const TOKEN_SECONDS: &[f64] = &[
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5,
];

/// Tokens of a call: OpenTelemetry's.
const CALL_TOKENS: &[f64] = &[
    1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262144.0, 1048576.0, 4194304.0,
    16777216.0, 67108864.0,
];

/// Seconds of an answer of the store.
const STORE: &[f64] = &[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];

macro_rules! catalogue {
    ($( $title:literal { $(
        $row:ident = $kind:expr, $unit:ident, $name:literal, [$($label:ident),*], $help:literal;
    )* } )*) => {
        $($(
            pub const $row: Metric = Metric {
                name: $name,
                kind: $kind,
                unit: Unit::$unit,
                labels: &[$($label),*],
                help: $help,
            };
        )*)*

        /// Every metric there is.
        pub const CATALOGUE: &[Section] = &[$(
            Section { title: $title, metrics: &[$($row),*] },
        )*];
    };
}

use Kind::{Counter, Gauge, Histogram};

catalogue! {
    "Requests" {
        REQUESTS = Counter, Things, "turnpike_requests_total", [OPERATION, STATUS, REASON],
            "Requests answered, by operation, status and, where the gateway refused, reason.";
        IN_FLIGHT = Gauge, Things, "turnpike_requests_in_flight", [],
            "Requests being served.";
        DRAINING = Gauge, Things, "turnpike_draining", [],
            "1 once the process was told to end: /ready says 503, and what is under way is finished.";
        BUFFERED = Gauge, Bytes, "turnpike_request_body_bytes", [],
            "Bytes of request bodies held, of at most `server.limits.max_buffered`.";
        DURATION_SECONDS = Histogram(DURATION), Seconds, "turnpike_request_duration_seconds", [OPERATION],
            "Time from a request's head to the last byte of its answer.";
        FIRST_CHUNK_SECONDS = Histogram(FIRST_TOKEN), Seconds, "turnpike_time_to_first_chunk_seconds", [OPERATION],
            "Time from a request's head to the first byte of a streamed answer's body.";
        PER_TOKEN_SECONDS = Histogram(TOKEN_SECONDS), Seconds, "turnpike_time_per_output_token_seconds", [OPERATION],
            "Time of a good stream from its first chunk to its end, for each token of output after the first.";
        OVERHEAD_SECONDS = Histogram(ADDED), Seconds, "turnpike_overhead_seconds", [],
            "Time the gateway itself took until the answer was under way: without waiting for the caller's body or the provider.";
    }
    "Models" {
        TOKENS = Counter, Tokens, "turnpike_tokens_total", [PROVIDER, MODEL, TOKEN_KIND],
            "Tokens as providers counted them. cache_read and cache_write are parts of input, reasoning is part of output.";
        COST = Counter, Dollars, "turnpike_cost_usd_total", [PROVIDER, MODEL],
            "What calls cost by the price table, in US dollars. Where a provider did not say what was used, an estimate.";
        USAGE_MISSING = Counter, Things, "turnpike_usage_missing_total", [PROVIDER, MODEL],
            "Good answers that stated no usage though their kind does.";
    }
    "Tenants" {
        TENANT_TOKENS = Counter, Tokens, "turnpike_tenant_tokens_total", [TENANT, USED_KIND],
            "Tokens that calls of a tenant's callers used, as providers counted them.";
        TENANT_COST = Counter, Dollars, "turnpike_tenant_cost_usd_total", [TENANT],
            "What they cost by the price table, in US dollars.";
        TENANT_REFUSALS = Counter, Things, "turnpike_tenant_refusals_total", [TENANT, REASON],
            "Requests that the gateway refused or cut: of a tenant's callers, or, of somebody who is not known, at its host.";
    }
    "Models, by OpenTelemetry's names" {
        GEN_AI_DURATION = Histogram(DURATION), Seconds, "gen_ai_server_request_duration_seconds",
            [GEN_AI_OPERATION, GEN_AI_PROVIDER, GEN_AI_MODEL, ERROR_TYPE],
            "Time from a request's head to the last byte of its answer, of those that a provider was called for.";
        GEN_AI_FIRST_TOKEN = Histogram(FIRST_TOKEN), Seconds, "gen_ai_server_time_to_first_token_seconds",
            [GEN_AI_OPERATION, GEN_AI_PROVIDER, GEN_AI_MODEL],
            "Time from a request's head to the first byte of a streamed answer's body.";
        GEN_AI_PER_TOKEN = Histogram(TOKEN_SECONDS), Seconds, "gen_ai_server_time_per_output_token_seconds",
            [GEN_AI_OPERATION, GEN_AI_PROVIDER, GEN_AI_MODEL],
            "Time of a good stream from its first chunk to its end, for each token of output after the first.";
        GEN_AI_USAGE = Histogram(CALL_TOKENS), Tokens, "gen_ai_client_token_usage",
            [GEN_AI_OPERATION, GEN_AI_PROVIDER, GEN_AI_MODEL, TOKEN_TYPE],
            "Tokens that a call used, as its provider counted them.";
    }
    "Calls of providers" {
        ATTEMPTS = Counter, Things, "turnpike_upstream_attempts_total", [PROVIDER, CREDENTIAL, OUTCOME],
            "Calls of providers, by what became of them.";
        ANSWER_SECONDS = Histogram(DURATION), Seconds, "turnpike_upstream_answer_seconds", [PROVIDER],
            "Time from taking a connection to the head of a provider's answer, or a stream's first event.";
        SESSIONS = Counter, Things, "turnpike_session_affinity_total", [SESSION],
            "Attempts of requests that name a session: with the credential it keeps to, or with another.";
    }
    "Credentials" {
        STATES = Gauge, Truth, "turnpike_credential_state", [PROVIDER, CREDENTIAL, STATE],
            "1 for the state each credential is in: active, cooling, exhausted, expired, disabled or error.";
        COOLDOWNS = Counter, Things, "turnpike_credential_cooldowns_total", [PROVIDER, FAULT, SCOPE],
            "Windows in which a credential, or one model of it, is left alone, by what began them.";
        RECOVERIES = Counter, Things, "turnpike_credential_recoveries_total", [PROVIDER, RECOVERED_BY],
            "Cooldowns that ended before their time or were cleared, by what showed that they were over.";
        PROBES = Counter, Things, "turnpike_credential_probes_total", [PROVIDER, PROBED],
            "Unbilled calls that look whether a failing credential is well again, by what came of them.";
        WAITS = Counter, Things, "turnpike_credential_waits_total", [WAITED],
            "Requests that waited for a credential to come back, by what came of it.";
        QUOTA_LEFT = Gauge, Tokens, "turnpike_credential_quota_remaining_tokens", [PROVIDER, CREDENTIAL],
            "Tokens left of a credential's quota in the running period, of those that have one.";
        EXHAUSTIONS = Counter, Things, "turnpike_credential_quota_exhaustions_total", [PROVIDER],
            "How often the quota of a credential ran out.";
        REFRESHES = Counter, Things, "turnpike_credential_refreshes_total", [PROVIDER, DONE],
            "Access tokens that were asked for with a credential.";
        FILES = Gauge, Things, "turnpike_credential_files", [FILE_STATE],
            "Files of the credential directory: good, or with a problem.";
        LEAKED = Counter, Things, "turnpike_leases_leaked_total", [],
            "Leases dropped without being settled: a bug.";
    }
    "Callers" {
        LOGINS = Counter, Things, "turnpike_logins_total", [LOGIN],
            "Logins of people, by what came of them.";
        RENEWALS = Counter, Things, "turnpike_session_renewals_total", [RENEWAL],
            "Sessions of people that were to be renewed, by what came of it.";
        KEY_FETCHES = Counter, Things, "turnpike_issuer_key_fetches_total", [DONE],
            "Times that an issuer of signed tokens was asked for its keys.";
        COMPUTATIONS = Counter, Things, "turnpike_identity_computations_total", [COMPUTED],
            "Hashes of agent tokens and signatures of signed tokens that were computed to know a caller.";
    }
    "Limits" {
        LIMIT_BUCKETS = Gauge, Things, "turnpike_limit_buckets", [MEASURE],
            "Whose limits of this measure have been drawn from in the running period: one for each user, model or whatever a limit tells apart.";
        LIMIT_DRAWN = Gauge, Things, "turnpike_limit_drawn", [MEASURE],
            "What this replica has drawn from the store of the limits of this measure, in the running period; money in US dollars.";
        LIMIT_FREE = Gauge, Things, "turnpike_limit_free", [MEASURE],
            "What of that no call has taken. Below 0 where calls used more than was expected of them.";
        LIMIT_REPLICAS = Gauge, Things, "turnpike_limit_replicas", [],
            "Replicas that draw from the same limits, this one among them.";
        LIMITS_AWAY = Gauge, Truth, "turnpike_limits_away", [],
            "1 while limits cannot be drawn from the store.";
    }
    "Store" {
        STORE_SECONDS = Histogram(STORE), Seconds, "turnpike_store_seconds", [STORE_OPERATION, DONE],
            "Time that the store took to answer. What calls used is noted without an answer, and is not in it.";
        STORE_ERRORS = Counter, Things, "turnpike_store_errors_total", [STORE_WHAT],
            "What the store did not do, by what it was about.";
    }
    "Audit" {
        AUDIT_RECORDS = Counter, Things, "turnpike_audit_records_total", [],
            "Audit records that were written.";
        AUDIT_LOST = Counter, Things, "turnpike_audit_lost_total", [],
            "Audit records that there was no room for, not even in memory.";
        AUDIT_REFUSES = Gauge, Truth, "turnpike_audit_refuses", [],
            "1 while calls are refused because the audit spool has no room for them.";
        AUDIT_SPOOL = Gauge, Bytes, "turnpike_audit_spool_bytes", [],
            "Bytes of the audit spool.";
        AUDIT_SPOOL_LIMIT = Gauge, Bytes, "turnpike_audit_spool_limit_bytes", [],
            "Bytes that the audit spool may have.";
        AUDIT_BEHIND = Gauge, Seconds, "turnpike_audit_sink_behind_seconds", [SINK],
            "How long the oldest audit record that a sink does not have has been waiting, at most.";
        AUDIT_DELIVERED = Counter, Things, "turnpike_audit_delivered_total", [SINK],
            "Audit records that are a sink's for good: it has confirmed them, where it can.";
        AUDIT_FAILURES = Counter, Things, "turnpike_audit_sink_failures_total", [SINK],
            "Times that a sink did not take audit records that it was handed, or lost some; they are handed on again.";
        AUDIT_WAITING = Gauge, Things, "turnpike_audit_waiting", [SINK],
            "Audit records that a sink was not handed yet.";
        AUDIT_MISSED = Counter, Things, "turnpike_audit_missed_total", [SINK],
            "Audit records that were dropped before a sink had them.";
        AUDIT_REJECTED = Counter, Things, "turnpike_audit_rejected_total", [SINK],
            "Audit records that a sink's receiver said it will never take. They are not handed on again.";
        AUDIT_AWAY = Gauge, Truth, "turnpike_audit_sink_away", [SINK],
            "1 while a sink takes no audit records: since it failed it has confirmed none.";
        USAGE_RECORDS = Counter, Things, "turnpike_usage_records_total", [],
            "Records of the stream usage that were written.";
        USAGE_LOST = Counter, Things, "turnpike_usage_lost_total", [],
            "Records of the stream usage that there was no room for, not even in memory.";
        USAGE_SPOOL = Gauge, Bytes, "turnpike_usage_spool_bytes", [],
            "Bytes of the spool of the stream usage.";
        USAGE_WAITING = Gauge, Things, "turnpike_usage_waiting", [SINK],
            "Records of the stream usage that a sink was not handed yet.";
        USAGE_DELIVERED = Counter, Things, "turnpike_usage_delivered_total", [SINK],
            "Records of the stream usage that are a sink's for good: it has confirmed them, where it can.";
        USAGE_DROPPED = Counter, Things, "turnpike_usage_dropped_total", [SINK],
            "Records of the stream usage that were dropped before a sink had them.";
        USAGE_REJECTED = Counter, Things, "turnpike_usage_rejected_total", [SINK],
            "Records of the stream usage that a sink's receiver said it will never take. They are not handed on again.";
        USAGE_AWAY = Gauge, Truth, "turnpike_usage_sink_away", [SINK],
            "1 while a sink takes no records of the stream usage: since it failed it has confirmed none.";
    }
    "The gateway" {
        BUILD = Gauge, Truth, "turnpike_build_info", [VERSION],
            "1, with the version as a label.";
        GENERATION = Gauge, Things, "turnpike_config_generation", [],
            "Configurations taken over since start.";
        CONFIG_HASH = Gauge, Things, "turnpike_config_hash", [],
            "A number made of what the configuration in force says, secrets aside: the same for the same configuration.";
        FLEET_REPLICAS = Gauge, Things, "turnpike_fleet_replicas", [],
            "Replicas that serve by one store, as far as this one has heard in the last 35 seconds, itself among them.";
        FLEET_CONFIGURATIONS = Gauge, Things, "turnpike_fleet_configurations", [],
            "Different configurations that they have in force.";
        RELOADS = Counter, Things, "turnpike_config_reloads_total", [DONE],
            "Configurations read, by whether they were taken over.";
        RELOAD_GOOD = Gauge, Truth, "turnpike_config_last_reload_successful", [],
            "1 when the last configuration read was taken over.";
        RELOAD_TIME = Gauge, Time, "turnpike_config_last_reload_success_timestamp_seconds", [],
            "When a configuration was last taken over.";
        CERTIFICATE_END = Gauge, Time, "turnpike_tls_certificate_expiry_timestamp_seconds", [CERTIFICATE],
            "When a certificate of `server.tls`, as it is in force, or the first of its chain stops being good.";
        SPANS = Counter, Things, "turnpike_trace_spans_total", [SENT],
            "Spans of traces: sent, refused by their collector, or dropped for want of room or at the end.";
        OVERFLOWS = Counter, Things, "turnpike_metrics_overflows_total", [LABEL],
            "Values of a label that were counted as `other`, because it has as many as it may have.";
    }
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

impl Unit {
    /// What the name of a metric of this unit has at its end, before `_total`.
    pub fn suffix(self) -> Option<&'static str> {
        match self {
            Self::Things | Self::Truth => None,
            Self::Seconds => Some("_seconds"),
            Self::Time => Some("_timestamp_seconds"),
            Self::Bytes => Some("_bytes"),
            Self::Tokens => Some("_tokens"),
            Self::Dollars => Some("_usd"),
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Things => "",
            Self::Truth => "0 or 1",
            Self::Seconds => "seconds",
            Self::Time => "seconds since 1970",
            Self::Bytes => "bytes",
            Self::Tokens => "tokens",
            Self::Dollars => "US dollars",
        }
    }
}

/// Every metric there is.
pub fn all() -> impl Iterator<Item = &'static Metric> {
    CATALOGUE.iter().flat_map(|section| section.metrics)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_say_their_unit() {
        let mut names = BTreeSet::new();
        for metric in all() {
            let name = metric.name;
            assert!(names.insert(name), "{name} twice");
            let is_counter = matches!(metric.kind, Counter);
            assert_eq!(name.ends_with("_total"), is_counter, "{name}");
            if let Some(suffix) = metric.unit.suffix()
                && name.starts_with("turnpike_")
            {
                assert!(name.trim_end_matches("_total").ends_with(suffix), "{name}");
            }
            assert!(metric.help.ends_with('.'), "{name}");
        }
    }

    #[test]
    fn a_metric_tells_its_labels_apart() {
        for metric in all() {
            let labels: BTreeSet<_> = metric.labels.iter().map(|label| label.name).collect();
            assert_eq!(labels.len(), metric.labels.len(), "{}", metric.name);
        }
    }
}
