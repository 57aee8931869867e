//! Which traces are recorded.

use std::sync::{Mutex, PoisonError};

use turnpike_config::plan::SampleRatio;

/// The part of a trace's id that is drawn by lot, as OpenTelemetry's consistent sampling has it: of one
/// trace, all who record the same part of all record it.
const LOT: u128 = 1 << 56;

/// As many traces a second are recorded only because callers ask for it.
const ASKED: u32 = 100;

/// Draws a part of all traces.
pub struct Sampler {
    /// Lots below are not drawn.
    least: u128,
}

impl Sampler {
    pub fn new(ratio: SampleRatio) -> Self {
        let part = u128::from(ratio.billionths());
        let all = u128::from(SampleRatio::ALL);
        Self {
            least: LOT * (all - part) / all,
        }
    }

    pub fn draws(&self, trace: u128) -> bool {
        trace % LOT >= self.least
    }
}

/// What callers may have recorded.
#[derive(Default)]
pub struct Allowance(Mutex<Taken>);

#[derive(Default)]
struct Taken {
    second: u64,
    traces: u32,
}

impl Allowance {
    /// Takes one of it, where there is one left. `now` is in milliseconds.
    pub fn takes(&self, now: u64) -> bool {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.second != now / 1000 {
            (taken.second, taken.traces) = (now / 1000, 0);
        }
        let is_left = taken.traces < ASKED;
        taken.traces += u32::from(is_left);
        is_left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampler(billionths: u64) -> Sampler {
        Sampler::new(SampleRatio::of_billionths(billionths).unwrap())
    }

    /// Ids whose lots lie evenly, and are all there are of that many.
    fn drawn(billionths: u64, of: u128) -> usize {
        let sampler = sampler(billionths);
        let ids = (0..of).map(|n| (n << 80) | (LOT * n / of));
        ids.filter(|id| sampler.draws(*id)).count()
    }

    #[test]
    fn exactly_the_part_is_drawn() {
        for (billionths, of, part) in [
            (0, 1 << 16, 0),
            (1_000_000_000, 1 << 16, 1 << 16),
            (500_000_000, 1 << 16, 1 << 15),
            (250_000_000, 1 << 16, 1 << 14),
            (10_000_000, 100_000, 1_000),
            (1_000_000, 1_000_000, 1_000),
        ] {
            assert_eq!(drawn(billionths, of), part, "{billionths} of {of}");
        }
    }

    #[test]
    fn who_draws_less_draws_of_the_same() {
        let (more, less) = (sampler(300_000_000), sampler(100_000_000));
        for _ in 0..10_000 {
            let id = fastrand::u128(..);
            assert!(more.draws(id) || !less.draws(id), "{id:x}");
        }
    }

    #[test]
    fn callers_have_an_allowance_each_second() {
        let allowance = Allowance::default();
        let taken = |now| (0..1_000).filter(|_| allowance.takes(now)).count();
        assert_eq!((taken(5_000), taken(5_999)), (ASKED as usize, 0));
        assert_eq!(taken(6_000), ASKED as usize);
    }
}
