//! The section `telemetry`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Amount;

/// Traces of calls, for a collector that speaks OpenTelemetry's protocol.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Telemetry {
    /// Where spans are sent, as OTLP over HTTP: a base URL, to which `/v1/traces` is appended. Without
    /// one, there are none.
    pub(crate) otlp_endpoint: Option<String>,
    /// Of the traces that begin here, the part that is recorded: from 0 to 1.
    pub(crate) sample_ratio: Amount,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self {
            otlp_endpoint: None,
            sample_ratio: Amount::of("0.01"),
        }
    }
}
