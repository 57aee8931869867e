//! Histograms that nobody observes: each is the sum of others' series, worked out when they are asked
//! for. So a call is counted once, and told under our names and under OpenTelemetry's.

use std::collections::BTreeMap;

use prometheus::HistogramVec;
use prometheus::core::Collector;
use prometheus::proto::{Bucket, Histogram, LabelPair, MetricFamily};

use super::catalogue::{Kind, Metric};
use super::told::{labelled, named};

/// The labels of a series.
pub(super) struct Labels<'s>(&'s [LabelPair]);

impl Labels<'_> {
    pub(super) fn get(&self, name: &str) -> &str {
        let pair = self.0.iter().find(|pair| pair.name() == name);
        pair.map_or("", LabelPair::value)
    }
}

#[derive(Default)]
struct Sum {
    count: u64,
    sum: f64,
    /// Each with those before it.
    buckets: Vec<u64>,
}

/// The row, with the series of `sources` that have the same values by `values`. They have the row's
/// buckets.
pub(super) fn sum(
    row: &Metric,
    sources: &[&HistogramVec],
    values: impl Fn(&Labels<'_>) -> Vec<String>,
) -> MetricFamily {
    let mut sums: BTreeMap<Vec<String>, Sum> = BTreeMap::new();
    for family in sources.iter().flat_map(|source| source.collect()) {
        for series in family.get_metric() {
            let sum = sums.entry(values(&Labels(series.get_label()))).or_default();
            sum.add(series.get_histogram());
        }
    }
    let Kind::Histogram(bounds) = row.kind else {
        return named(row);
    };
    let metrics = sums.into_iter().map(|(values, sum)| {
        let values: Vec<_> = values.iter().map(String::as_str).collect();
        let mut metric = prometheus::proto::Metric::from_label(labelled(row, &values));
        metric.set_histogram(sum.told(bounds));
        metric
    });
    let mut family = named(row);
    family.set_metric(metrics.collect());
    family
}

impl Sum {
    fn add(&mut self, histogram: &Histogram) {
        self.count += histogram.get_sample_count();
        self.sum += histogram.get_sample_sum();
        let more = histogram.get_bucket();
        self.buckets.resize(more.len(), 0);
        for (sum, bucket) in self.buckets.iter_mut().zip(more) {
            *sum += bucket.cumulative_count();
        }
    }

    fn told(&self, bounds: &[f64]) -> Histogram {
        debug_assert_eq!(self.buckets.len(), bounds.len(), "the row's buckets");
        let buckets = bounds.iter().zip(&self.buckets).map(|(bound, count)| {
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound);
            bucket.set_cumulative_count(*count);
            bucket
        });
        let mut histogram = Histogram::default();
        histogram.set_sample_count(self.count);
        histogram.set_sample_sum(self.sum);
        histogram.set_bucket(buckets.collect());
        histogram
    }
}
