//! How the record stands, as Prometheus reads it. It is put together when it is asked for.

use std::fmt::Write as _;

use turnpike_audit::log::{SinkStatus, Status};

/// Puts the series behind what is there.
pub fn expose(status: &Status, out: &mut Vec<u8>) {
    let mut text = String::new();
    let plain = |n: u64| vec![(String::new(), n)];
    let of_sinks = |value: fn(&Status, &SinkStatus) -> u64| {
        let sinks = status.sinks.iter();
        let series = sinks.map(|sink| (label(&sink.name), value(status, sink)));
        series.collect::<Vec<_>>()
    };
    for (name, kind, help, series) in [
        (
            "turnpike_audit_records_total",
            "counter",
            "Audit records that were written.",
            plain(status.written),
        ),
        (
            "turnpike_audit_lost_total",
            "counter",
            "Audit records that there was no room for, not even in memory.",
            plain(status.lost),
        ),
        (
            "turnpike_audit_spool_bytes",
            "gauge",
            "Bytes of the audit spool.",
            plain(status.bytes),
        ),
        (
            "turnpike_audit_waiting",
            "gauge",
            "Audit records that a sink does not have yet.",
            of_sinks(|status, sink| status.written.saturating_sub(sink.seq)),
        ),
        (
            "turnpike_audit_missed_total",
            "counter",
            "Audit records that were dropped before a sink had them.",
            of_sinks(|_, sink| sink.missed),
        ),
        (
            "turnpike_audit_sink_away",
            "gauge",
            "1 while a sink takes no audit records.",
            of_sinks(|_, sink| sink.is_away.into()),
        ),
    ] {
        // Into memory, which takes it.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in series {
            let _ = writeln!(text, "{name}{labels} {value}");
        }
    }
    out.extend_from_slice(text.as_bytes());
}

fn label(sink: &str) -> String {
    let plain = sink.replace('\\', "\\\\").replace('"', "\\\"");
    format!("{{sink=\"{}\"}}", plain.replace('\n', "\\n"))
}
