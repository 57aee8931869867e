use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use super::caller::{Answered, Failure};
use super::histogram::Histogram;

/// What came of a run.
#[derive(Debug, Default)]
pub struct Tally {
    pub(super) elapsed: Duration,
    latency: Histogram,
    first_chunk: Histogram,
    chunks: u64,
    errors: BTreeMap<String, u64>,
}

impl Tally {
    pub(super) fn note(&mut self, due: Instant, answer: Result<Answered, Failure>) {
        let answered = match answer {
            Ok(answered) => answered,
            Err(kind) => return self.error(&kind),
        };
        self.latency.record(answered.at - due);
        if let Some((first, chunks)) = answered.stream {
            self.first_chunk.record(first - due);
            self.chunks += chunks;
        }
    }

    pub(super) fn error(&mut self, kind: &str) {
        *self.errors.entry(kind.to_owned()).or_default() += 1;
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.latency.merge(&other.latency);
        self.first_chunk.merge(&other.first_chunk);
        self.chunks += other.chunks;
        for (kind, count) in other.errors {
            *self.errors.entry(kind).or_default() += count;
        }
    }

    /// Calls that ended, well or not.
    pub fn requests(&self) -> u64 {
        self.latency.count() + self.errors()
    }

    pub fn errors(&self) -> u64 {
        self.errors.values().sum()
    }

    /// What they were, and how many of each.
    pub fn errors_by_kind(&self) -> impl Iterator<Item = (&str, u64)> {
        (self.errors.iter()).map(|(kind, count)| (kind.as_str(), *count))
    }

    pub fn chunks(&self) -> u64 {
        self.chunks
    }

    pub fn latency(&self) -> &Histogram {
        &self.latency
    }

    pub fn first_chunk(&self) -> &Histogram {
        &self.first_chunk
    }

    pub fn requests_per_second(&self) -> f64 {
        self.per_second(self.latency.count())
    }

    fn per_second(&self, count: u64) -> f64 {
        count as f64 / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.elapsed.as_secs_f64();
        writeln!(out, "requests     {} in {seconds:.1} s", self.requests())?;
        writeln!(
            out,
            "answered     {:.0} a second",
            self.requests_per_second()
        )?;
        percentiles(out, "latency", &self.latency)?;
        if self.first_chunk.count() > 0 {
            percentiles(out, "first chunk", &self.first_chunk)?;
            writeln!(
                out,
                "chunks       {:.0} a second",
                self.per_second(self.chunks)
            )?;
        }
        writeln!(out, "errors       {}", self.errors())?;
        for (kind, count) in &self.errors {
            writeln!(out, "  {kind}: {count}")?;
        }
        Ok(())
    }
}

fn percentiles(out: &mut fmt::Formatter<'_>, name: &str, of: &Histogram) -> fmt::Result {
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    let [p50, p90, p99] = [0.5, 0.9, 0.99].map(|share| ms(of.percentile(share)));
    let max = ms(of.max());
    writeln!(
        out,
        "{name:<12} p50 {p50:.3} ms, p90 {p90:.3} ms, p99 {p99:.3} ms, max {max:.3} ms"
    )
}
