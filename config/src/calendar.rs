//! When the windows of limits begin and end.

use std::sync::Arc;

use turnpike_api::{Calendar, Period};

use crate::schedule::Schedule;

const MINUTE: u64 = 60_000;

/// Minutes, which begin at the same moment in every zone.
pub(crate) struct Minutes;

impl Calendar for Minutes {
    fn period(&self, now: u64) -> Period {
        let start = now - now % MINUTE;
        let end = start.saturating_add(MINUTE);
        Period { start, end }
    }
}

/// From one reset of a schedule to the next.
pub(crate) struct Resets(Schedule);

impl Resets {
    /// `expression` as [`Schedule::parse`] reads it, `zone` an IANA name.
    pub(crate) fn shared(expression: &str, zone: &str) -> Result<Arc<dyn Calendar>, String> {
        Ok(Arc::new(Self(Schedule::parse(expression, zone)?)))
    }
}

impl Calendar for Resets {
    fn period(&self, now: u64) -> Period {
        let period = self.0.period(now);
        Period {
            start: period.start_ms,
            end: period.end_ms.unwrap_or(u64::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_begins_with_the_minute() {
        for (now, start) in [(0, 0), (59_999, 0), (60_000, 60_000), (119_999, 60_000)] {
            let end = start + MINUTE;
            assert_eq!(Minutes.period(now), Period { start, end }, "{now}");
        }
        assert!(Minutes.period(u64::MAX).start < u64::MAX);
    }

    #[test]
    fn what_is_never_reset_is_one_period() {
        let never = Resets::shared("never", "UTC").ok().unwrap();
        assert_eq!(never.period(1_700_000_000_000), Period::ENDLESS);
    }
}
