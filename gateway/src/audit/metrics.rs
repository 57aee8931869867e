//! How the record stands, as Prometheus reads it. It is put together when it is asked for.

use prometheus::proto::MetricFamily;
use turnpike_audit::log::{SinkStatus, Status};

use crate::observe::metrics::catalogue::*;
use crate::observe::metrics::told::{plain, told};

/// The metrics of a record that is kept.
pub fn families(status: &Status) -> Vec<MetricFamily> {
    let of_sinks = |row, value: fn(&SinkStatus) -> u64| of_sinks(status, row, value);
    vec![
        plain(&AUDIT_RECORDS, status.written as f64),
        plain(&AUDIT_LOST, status.lost as f64),
        plain(&AUDIT_REFUSES, u8::from(status.refuses).into()),
        plain(&AUDIT_SPOOL, status.bytes as f64),
        plain(&AUDIT_SPOOL_LIMIT, status.most_bytes as f64),
        of_sinks(&AUDIT_WAITING, |sink| sink.waiting),
        told(
            &AUDIT_BEHIND,
            status
                .sinks
                .iter()
                .map(|sink| (vec![&*sink.name], sink.behind as f64 / 1_000.0)),
        ),
        of_sinks(&AUDIT_DELIVERED, |sink| sink.delivered),
        of_sinks(&AUDIT_FAILURES, |sink| sink.failures),
        of_sinks(&AUDIT_MISSED, |sink| sink.missed),
        of_sinks(&AUDIT_REJECTED, |sink| sink.rejected),
        of_sinks(&AUDIT_AWAY, |sink| sink.is_away.into()),
    ]
}

/// The metrics of the stream `usage`, where somebody wants it.
pub fn of_usage(status: &Status) -> Vec<MetricFamily> {
    let of_sinks = |row, value: fn(&SinkStatus) -> u64| of_sinks(status, row, value);
    vec![
        plain(&USAGE_RECORDS, status.written as f64),
        plain(&USAGE_LOST, status.lost as f64),
        plain(&USAGE_SPOOL, status.bytes as f64),
        of_sinks(&USAGE_WAITING, |sink| sink.waiting),
        of_sinks(&USAGE_DELIVERED, |sink| sink.delivered),
        of_sinks(&USAGE_DROPPED, |sink| sink.missed),
        of_sinks(&USAGE_REJECTED, |sink| sink.rejected),
        of_sinks(&USAGE_AWAY, |sink| sink.is_away.into()),
    ]
}

fn of_sinks(status: &Status, row: &Metric, value: fn(&SinkStatus) -> u64) -> MetricFamily {
    let sinks = status.sinks.iter();
    told(
        row,
        sinks.map(|sink| (vec![&*sink.name], value(sink) as f64)),
    )
}
