use std::time::Duration;

/// Steps within each power of two: a percentile is exact to 1.6 %.
const STEPS: usize = 64;
const STEP_BITS: u32 = STEPS.ilog2();
/// Up to 2^36 microseconds, 19 hours.
const BUCKETS: usize = STEPS * 31;

/// Durations in microseconds, in fixed buckets.
#[derive(Debug, Clone)]
pub struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: vec![0; BUCKETS],
            count: 0,
            max: 0,
        }
    }
}

impl Histogram {
    pub fn record(&mut self, value: Duration) {
        let micros = u64::try_from(value.as_micros()).unwrap_or(u64::MAX);
        self.buckets[bucket(micros).min(BUCKETS - 1)] += 1;
        self.count += 1;
        self.max = self.max.max(micros);
    }

    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
        }
        self.count += other.count;
        self.max = self.max.max(other.max);
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    pub fn max(&self) -> Duration {
        Duration::from_micros(self.max)
    }

    /// The value that this share of all (0.99) is not above.
    pub fn percentile(&self, share: f64) -> Duration {
        let rank = (self.count as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (at, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_micros(top(at).min(self.max));
            }
        }
        self.max()
    }
}

fn bucket(value: u64) -> usize {
    let power = value.max(1).ilog2();
    if power < STEP_BITS {
        return value as usize;
    }
    let shift = power - STEP_BITS;
    (shift as usize + 1) * STEPS + ((value >> shift) as usize & (STEPS - 1))
}

/// The highest value of a bucket.
fn top(bucket: usize) -> u64 {
    if bucket < STEPS {
        return bucket as u64;
    }
    let shift = bucket / STEPS - 1;
    (((STEPS + bucket % STEPS + 1) as u64) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_its_values_within_two_percent() {
        for value in (0..2_000_000_u64).step_by(37) {
            let top = top(bucket(value));
            assert!(
                top >= value && top as f64 <= value as f64 * 1.017 + 1.0,
                "{value} {top}"
            );
        }
    }

    #[test]
    fn percentiles_of_an_even_spread() {
        let mut histogram = Histogram::default();
        for micros in 1..=1000 {
            histogram.record(Duration::from_micros(micros));
        }
        let near = |share, micros: f64| {
            let got = histogram.percentile(share).as_micros() as f64;
            assert!(
                (got - micros).abs() <= micros * 0.02,
                "{got} is not near {micros}"
            );
        };
        near(0.5, 500.0);
        near(0.99, 990.0);
        near(1.0, 1000.0);
        assert_eq!(Histogram::default().percentile(0.5), Duration::ZERO);
    }
}
