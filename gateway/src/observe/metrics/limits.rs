//! What this replica has drawn of limits, when it is asked for.

use prometheus::proto::MetricFamily;
use turnpike_api::Measure;
use turnpike_limits::{Book, Leased};

use super::catalogue::*;
use super::told::{plain, told};

/// A dollar, as limits count it.
const DOLLAR: f64 = 1_000_000.0;

pub fn limits(book: &Book) -> Vec<MetricFamily> {
    let mut leased = book.leased().to_vec();
    leased.retain(|(_, leased)| leased.buckets > 0);
    let of = |row: &Metric, value: fn(&Leased) -> f64| {
        let series = leased.iter().map(|(measure, leased)| {
            let value = value(leased);
            match measure {
                Measure::Usd => (vec![measure.as_str()], value / DOLLAR),
                _ => (vec![measure.as_str()], value),
            }
        });
        told(row, series)
    };
    let buckets = leased.iter();
    let buckets = buckets.map(|(measure, of)| (vec![measure.as_str()], of.buckets as f64));
    vec![
        told(&LIMIT_BUCKETS, buckets),
        of(&LIMIT_DRAWN, |leased| leased.granted as f64),
        of(&LIMIT_FREE, |leased| leased.free as f64),
        plain(&LIMIT_REPLICAS, book.replicas().into()),
        plain(&LIMITS_AWAY, u8::from(book.is_away()).into()),
    ]
}
