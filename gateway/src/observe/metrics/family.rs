//! A metric with its series. Values of labels go through its row's bounds when a series is looked
//! up: the hot path keeps what it found.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::Collector;
use prometheus::{
    Counter, CounterVec, Error, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec,
    IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use super::catalogue::{Kind, Metric, OVERFLOWS};
use super::labels::{Bound, LABELS, Label, OTHER};

/// The series of one metric.
#[derive(Clone)]
pub struct Family<S> {
    row: Metric,
    series: S,
    caps: Caps,
}

/// The library's series of a kind of metric.
pub trait Series: Collector + Clone + 'static {
    type One;
    fn of(row: &Metric, labels: &[&str]) -> Result<Self, Error>;
    fn one(&self, values: &[&str]) -> Self::One;
}

/// The values that labels with a bound of their own have had, in all metrics together: a model is
/// `other` in all of them or in none.
#[derive(Clone)]
pub struct Caps(Arc<[Cap]>);

struct Cap {
    label: &'static str,
    most: usize,
    seen: Mutex<HashSet<Box<str>>>,
    overflows: IntCounter,
}

/// Makes families of the catalogue's rows.
pub struct Families {
    pub registry: Registry,
    pub caps: Caps,
}

/// As many labels as a metric has at most.
const LABELS_AT_MOST: usize = 4;

impl Families {
    pub fn new() -> Result<Self, Error> {
        let overflows = IntCounterVec::of(&OVERFLOWS, &names(&OVERFLOWS))?;
        let registry = Registry::new();
        registry.register(Box::new(overflows.clone()))?;
        let caps = LABELS.iter().filter_map(|label| match label.bound {
            Bound::First(most) => Some(Cap {
                label: label.name,
                most,
                seen: Mutex::default(),
                overflows: overflows.with_label_values(&[label.name]),
            }),
            Bound::Words(_) | Bound::There(_) | Bound::As(_) => None,
        });
        Ok(Self {
            registry,
            caps: Caps(caps.collect()),
        })
    }

    /// A metric that is exposed.
    pub fn family<S: Series>(&self, row: &Metric) -> Result<Family<S>, Error> {
        let family = self.hidden::<S>(row)?;
        self.registry.register(Box::new(family.series.clone()))?;
        // The first that is counted is seen as an increase only where there was a nought before.
        if let (Kind::Counter, [label]) = (row.kind, row.labels)
            && let Bound::Words(words) = label.bound
        {
            for word in words() {
                family.with(&[word]);
            }
        }
        Ok(family)
    }

    /// One that others are [derived](super::derived) from.
    pub fn hidden<S: Series>(&self, row: &Metric) -> Result<Family<S>, Error> {
        Ok(Family {
            row: *row,
            series: S::of(row, &names(row))?,
            caps: self.caps.clone(),
        })
    }
}

impl<S: Series> Family<S> {
    /// The series of these values, in the order of the row's labels.
    pub fn with(&self, values: &[&str]) -> S::One {
        let mut admitted = [""; LABELS_AT_MOST];
        for ((admitted, label), value) in admitted.iter_mut().zip(self.row.labels).zip(values) {
            *admitted = self.caps.admit(label, value);
        }
        self.series.one(&admitted[..self.row.labels.len()])
    }

    pub fn series(&self) -> &S {
        &self.series
    }
}

impl Caps {
    /// The value, or `other` where there is no room for it.
    fn admit<'v>(&self, label: &Label, value: &'v str) -> &'v str {
        debug_assert!(
            label.has(value),
            "the catalogue knows no {} {value:?}",
            label.name
        );
        let is_name = !value.is_empty() && value != OTHER;
        let cap = self.0.iter().find(|cap| cap.label == label.name);
        match cap {
            Some(cap) if is_name && !cap.has_room(value) => {
                cap.overflows.inc();
                OTHER
            }
            _ => value,
        }
    }
}

impl Cap {
    fn has_room(&self, value: &str) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.contains(value) || (seen.len() < self.most && seen.insert(value.into()))
    }
}

fn names(row: &Metric) -> Vec<&'static str> {
    row.labels.iter().map(|label| label.name).collect()
}

macro_rules! series {
    ($( $series:ty => $one:ty; )*) => { $(
        impl Series for $series {
            type One = $one;

            fn of(row: &Metric, labels: &[&str]) -> Result<Self, Error> {
                Self::new(Opts::new(row.name, row.help), labels)
            }

            fn one(&self, values: &[&str]) -> $one {
                self.with_label_values(values)
            }
        }
    )* };
}

series! {
    IntCounterVec => IntCounter;
    CounterVec => Counter;
    IntGaugeVec => IntGauge;
    GaugeVec => Gauge;
}

impl Series for HistogramVec {
    type One = Histogram;

    fn of(row: &Metric, labels: &[&str]) -> Result<Self, Error> {
        let opts = HistogramOpts::new(row.name, row.help);
        let opts = match row.kind {
            Kind::Histogram(buckets) => opts.buckets(buckets.to_vec()),
            Kind::Counter | Kind::Gauge => opts,
        };
        Self::new(opts, labels)
    }

    fn one(&self, values: &[&str]) -> Histogram {
        self.with_label_values(values)
    }
}
