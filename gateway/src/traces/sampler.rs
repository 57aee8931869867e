//! Which traces are recorded.

use std::sync::atomic::{AtomicU64, Ordering};

use turnpike_config::plan::SampleRatio;

/// The part of a trace's id that is drawn by lot, as OpenTelemetry's consistent sampling has it: of one
/// trace, all who record the same part of all record it.
const LOT: u128 = 1 << 56;

/// As many traces a second are recorded only because callers ask for it.
const ASKED: u64 = 100;

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

/// What callers may have recorded: how many of the second that runs were taken. In one word, so that calls
/// do not wait for each other: the second's last 32 bits, and the number.
#[derive(Default)]
pub struct Allowance(AtomicU64);

impl Allowance {
    /// Takes one of it, where there is one left. `now` is in milliseconds.
    pub fn takes(&self, now: u64) -> bool {
        let second = (now / 1000) << 32;
        let taken = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
                let taken = if word & SECOND == second {
                    word
                } else {
                    second
                };
                (taken & !SECOND < ASKED).then_some(taken + 1)
            });
        taken.is_ok()
    }

    /// Gives back one that was taken at `now`: who asked is nobody. Of a second that is over there is
    /// nothing to give back.
    pub fn gives_back(&self, now: u64) {
        let second = (now / 1000) << 32;
        // It fails where there is nothing to be done.
        let _ = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
                (word & SECOND == second && word != second).then(|| word - 1)
            });
    }
}

/// The bits of an allowance that say of which second it is.
const SECOND: u64 = !0 << 32;

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
        allowance.gives_back(6_500);
        assert_eq!(taken(6_900), 1);
        // Of what is over, and of what nobody took.
        allowance.gives_back(5_000);
        assert_eq!((taken(6_999), taken(7_000)), (0, ASKED as usize));
        (0..1_000).for_each(|_| allowance.gives_back(7_000));
        assert_eq!(taken(7_000), ASKED as usize);
    }
}
