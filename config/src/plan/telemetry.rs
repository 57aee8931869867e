//! Traces, and where they go.

use url::Url;

/// Where spans are sent, and of how many traces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TelemetryPlan {
    /// Without `/v1/traces`, and without a trailing slash in its path.
    pub endpoint: Url,
    pub ratio: SampleRatio,
}

/// A part of all, exactly as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SampleRatio(u64);

impl SampleRatio {
    /// Decimal places it may have.
    pub(crate) const PLACES: usize = 9;

    /// So many make all.
    pub const ALL: u64 = 1_000_000_000;

    /// `None` for more than all.
    pub fn of_billionths(billionths: u64) -> Option<Self> {
        (billionths <= Self::ALL).then_some(Self(billionths))
    }

    pub fn billionths(self) -> u64 {
        self.0
    }
}
