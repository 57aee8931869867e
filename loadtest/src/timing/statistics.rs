//! Whether two sets of times are of one kind.

/// Times of one class, in nanoseconds.
pub(super) type Times = [u64];

/// Beyond it two classes differ: of classes that are alike, one comparison in 100,000 comes so far.
/// As dudect has it (Reparaz, Balasch, Verbauwhede, 2017).
pub const LIMIT: f64 = 4.5;

/// The share of all times that is looked at: what is longer was interrupted.
const CROPPED: f64 = 0.95;

/// How two classes compare.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Comparison {
    /// Welch's t of the shorter 95 % of both together.
    pub t: f64,
    /// The standard score of Mann and Whitney's U, of all.
    pub z: f64,
}

impl Comparison {
    pub(super) fn of(one: &Times, other: &Times) -> Self {
        let mut all: Vec<u64> = one.iter().chain(other).copied().collect();
        all.sort_unstable();
        let longest = percentile(&all, CROPPED);
        let cropped = |times: &Times| -> Vec<f64> {
            let kept = times.iter().filter(|&&time| time <= longest);
            kept.map(|&time| time as f64).collect()
        };
        Self {
            t: welch(&cropped(one), &cropped(other)),
            z: mann_whitney(one, other, &all),
        }
    }

    /// Whether the two can be told apart.
    pub fn differ(&self) -> bool {
        self.t.abs() >= LIMIT || self.z.abs() >= LIMIT
    }
}

/// Of sorted times.
pub(super) fn percentile(sorted: &Times, share: f64) -> u64 {
    let rank = (sorted.len() as f64 * share).ceil().max(1.0) as usize;
    sorted.get(rank - 1).copied().unwrap_or_default()
}

fn welch(one: &[f64], other: &[f64]) -> f64 {
    let about = |times: &[f64]| {
        let count = times.len() as f64;
        let mean = times.iter().sum::<f64>() / count;
        let squares: f64 = times.iter().map(|time| (time - mean).powi(2)).sum();
        (mean, squares / (count - 1.0) / count)
    };
    let ((one, of_one), (other, of_other)) = (about(one), about(other));
    (one - other) / (of_one + of_other).sqrt()
}

/// `all` is both, sorted. Equal times have the mean of their ranks.
fn mann_whitney(one: &Times, other: &Times, all: &Times) -> f64 {
    let (m, n) = (one.len() as f64, other.len() as f64);
    let rank = |time: &u64| {
        let below = all.partition_point(|other| other < time);
        let up_to = all.partition_point(|other| other <= time);
        (below + up_to + 1) as f64 / 2.0
    };
    let ranks: f64 = one.iter().map(rank).sum();
    let u = ranks - m * (m + 1.0) / 2.0;
    let ties: f64 = (all.chunk_by(|a, b| a == b))
        .map(|equal| (equal.len() as f64).powi(3) - equal.len() as f64)
        .sum();
    let total = m + n;
    let variance = m * n / 12.0 * (total + 1.0 - ties / (total * (total - 1.0)));
    (u - m * n / 2.0) / variance.sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Random;

    /// Around a microsecond; one in 50 was interrupted.
    fn times(seed: u64, more: u64) -> Vec<u64> {
        let mut random = Random::new(seed);
        let mut time = || {
            let noise: usize = (0..8).map(|_| random.below(1_000)).sum();
            let interrupted = random.below(50) == 0;
            let lost = random.below(1_000_000) * usize::from(interrupted);
            100_000 + more + (noise + lost) as u64
        };
        (0..20_000).map(|_| time()).collect()
    }

    #[test]
    fn what_is_of_one_kind_is_not_told_apart() {
        for seed in 0..20 {
            let compared = Comparison::of(&times(seed, 0), &times(seed + 100, 0));
            assert!(!compared.differ(), "{seed}: {compared:?}");
        }
    }

    #[test]
    fn a_difference_of_a_thousandth_is_told() {
        let compared = Comparison::of(&times(1, 0), &times(2, 100));
        assert!(compared.t < -LIMIT && compared.z < -LIMIT, "{compared:?}");
        let turned = Comparison::of(&times(2, 100), &times(1, 0));
        assert!(turned.t > LIMIT && turned.z > LIMIT, "{turned:?}");
    }

    #[test]
    fn small_sets_have_the_values_of_the_textbook() {
        // U = 7 of 5 and 4: z = (7 - 10) / sqrt(5 * 4 * 10 / 12).
        let compared = Comparison::of(&[1, 2, 3, 7, 9], &[4, 5, 6, 8]);
        assert!((compared.z + 0.734_846_9).abs() < 1e-6, "{compared:?}");
        let t = welch(&[1.0, 2.0, 3.0, 4.0], &[2.0, 4.0, 6.0, 8.0]);
        assert!((t + 1.732_050_8).abs() < 1e-6, "{t}");
    }
}
