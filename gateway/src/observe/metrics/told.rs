//! Metrics that are put together when they are asked for: what others keep the count of.

use std::collections::BTreeMap;

use prometheus::proto::{Counter, Gauge, LabelPair, MetricFamily, MetricType};

use super::catalogue::{Kind, Metric};

/// A row with its series, each the values of its labels and its own. Of two with the same labels, which
/// Prometheus would refuse altogether, the last one is told.
pub fn told<'v>(
    row: &Metric,
    series: impl IntoIterator<Item = (Vec<&'v str>, f64)>,
) -> MetricFamily {
    let series: BTreeMap<_, _> = series.into_iter().collect();
    let metrics = series.into_iter().map(|(values, value)| {
        let mut metric = prometheus::proto::Metric::from_label(labelled(row, &values));
        match row.kind {
            Kind::Counter => {
                let mut counter = Counter::default();
                counter.set_value(value);
                metric.set_counter(counter);
            }
            Kind::Gauge | Kind::Histogram(_) => {
                let mut gauge = Gauge::default();
                gauge.set_value(value);
                metric.set_gauge(gauge);
            }
        }
        metric
    });
    let mut family = named(row);
    family.set_metric(metrics.collect());
    family
}

/// A row of one series.
pub fn plain(row: &Metric, value: f64) -> MetricFamily {
    told(row, [(Vec::new(), value)])
}

/// A row without its series.
pub fn named(row: &Metric) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(row.name.to_owned());
    family.set_help(row.help.to_owned());
    family.set_field_type(match row.kind {
        Kind::Counter => MetricType::COUNTER,
        Kind::Gauge => MetricType::GAUGE,
        Kind::Histogram(_) => MetricType::HISTOGRAM,
    });
    family
}

/// Labels as the library sorts them.
pub fn labelled(row: &Metric, values: &[&str]) -> Vec<LabelPair> {
    let pair = |(name, value): (&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name(name.to_owned());
        pair.set_value(value.to_owned());
        pair
    };
    let names = row.labels.iter().map(|label| label.name);
    let mut pairs: Vec<_> = names.zip(values.iter().copied()).map(pair).collect();
    pairs.sort_by(|one, other| one.name().cmp(other.name()));
    pairs
}

/// As much of a digest in hexadecimal digits as a value can hold.
pub fn number(digest: &str) -> u64 {
    let first = digest.get(..12).unwrap_or_default();
    u64::from_str_radix(first, 16).unwrap_or_default()
}
