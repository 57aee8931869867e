//! The OTLP sink, by a collector that reads with the protocol's own definitions.

use std::collections::VecDeque;

use http::{Request, Response};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use prost::Message as _;
use turnpike_api::{Clock, Secret};

use super::samples::samples;
use super::*;
use crate::delivery::{Delivery, Step};
use crate::sinks::otlp::{Options, Otlp};
use crate::sinks::outside::{Outside, OutsideError, Renewable};
use crate::{Format, Stream};

const TOKEN: &str = "collector-token-0123456789";

/// A clock that stands still.
struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> u64 {
        NOW
    }
}

#[derive(Clone, Default)]
struct Collector {
    /// What it answers next; that it has taken all, where nothing is said.
    script: Arc<Mutex<VecDeque<Response<Vec<u8>>>>>,
    heard: Arc<Mutex<Vec<Request<Vec<u8>>>>>,
    is_away: Arc<AtomicBool>,
}

impl Outside for Collector {
    fn call(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, OutsideError> {
        if self.is_away.load(Relaxed) {
            return Ok(Response::builder().status(503).body(Vec::new()).unwrap());
        }
        self.heard.lock().unwrap().push(request);
        let said = self.script.lock().unwrap().pop_front();
        Ok(said.unwrap_or_else(|| Response::new(Vec::new())))
    }
}

impl Collector {
    fn sink(&self, format: Format) -> Box<dyn Sink> {
        let options = Options {
            url: "https://collector.example/v1/logs".into(),
            token: Renewable::new(Some(Secret::new(TOKEN))),
            format,
        };
        Box::new(Otlp::new(
            options,
            Arc::new(self.clone()),
            Arc::new(Stopped),
        ))
    }

    fn says(&self, answer: Response<Vec<u8>>) {
        self.script.lock().unwrap().push_back(answer);
    }

    /// The records of each request.
    fn records(&self) -> Vec<Vec<LogRecord>> {
        let heard = self.heard.lock().unwrap();
        let requests = heard.iter().map(|request| {
            let read = ExportLogsServiceRequest::decode(request.body().as_slice()).unwrap();
            let [resource] = &read.resource_logs[..] else {
                panic!("{read:?}");
            };
            let told = &resource.resource.as_ref().unwrap().attributes;
            assert_eq!(find(told, "service.name"), "turnpike");
            assert!(!find(told, "host.name").is_empty());
            resource.scope_logs[0].log_records.clone()
        });
        requests.collect()
    }
}

fn find<'a>(attributes: &'a [KeyValue], name: &str) -> &'a str {
    let found = attributes.iter().find(|one| one.key == name).unwrap();
    string(found.value.as_ref())
}

fn string(value: Option<&AnyValue>) -> &str {
    match value.unwrap().value.as_ref().unwrap() {
        Value::StringValue(text) => text,
        other => panic!("{other:?}"),
    }
}

fn partly(rejected_log_records: i64) -> Response<Vec<u8>> {
    let partial_success = Some(ExportLogsPartialSuccess {
        rejected_log_records,
        error_message: "too old".into(),
    });
    Response::new(ExportLogsServiceResponse { partial_success }.encode_to_vec())
}

#[test]
fn a_collector_gets_records_as_they_are_with_what_it_finds_them_by() {
    let directory = tempfile::tempdir().unwrap();
    let (spool, collector) = (large(directory.path()), Collector::default());
    let sink = collector.sink(Format::Json);
    let mut delivery = Delivery::open("otlp".into(), sink, directory.path());
    for _ in 0..600 {
        start(&spool, "a");
    }
    spool.keep_all().unwrap();
    while delivery.step(spool.number(), NOW).unwrap() != Step::Idle {}
    let batches = collector.records();
    assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), [500, 100]);
    let written = records(directory.path());
    for (seq, (told, written)) in (1..).zip(batches.iter().flatten().zip(&written)) {
        // Byte for byte: the chain can be verified by who receives it.
        assert_eq!(string(told.body.as_ref()).as_bytes(), &written[..]);
        assert_eq!(told.event_name, "request.start");
        let uid = find(&told.attributes, "log.record.uid");
        assert_eq!(uid, format!("00c0ffee:{seq}"));
        assert_eq!(told.time_unix_nano, NOW * 1_000_000);
    }
    let heard = collector.heard.lock().unwrap();
    for request in &*heard {
        assert_eq!(request.uri(), "https://collector.example/v1/logs");
        assert_eq!(request.headers()["content-type"], "application/x-protobuf");
        let bearer = request.headers()["authorization"].to_str().unwrap();
        assert_eq!(bearer, format!("Bearer {TOKEN}"));
        assert!(!format!("{request:?}").contains(TOKEN), "it is not shown");
    }
}

#[test]
fn every_event_has_its_severity_and_its_trace() {
    let collector = Collector::default();
    let mut batch = Batch::default();
    let samples = samples();
    for (seq, record) in (1..).zip(&samples) {
        batch.push(record, seq);
    }
    collector
        .sink(Format::Ocsf(Stream::Audit))
        .deliver(&batch)
        .unwrap();
    let told = collector.records().remove(0);
    assert_eq!(told.len(), samples.len());
    for (told, record) in told.iter().zip(&samples) {
        let native: serde_json::Value = serde_json::from_slice(record).unwrap();
        assert_eq!(told.event_name, native["event"].as_str().unwrap());
        let body: serde_json::Value = serde_json::from_str(string(told.body.as_ref())).unwrap();
        assert!(body["class_uid"].is_number(), "{body}");
        assert!((9..=17).contains(&told.severity_number));
        let digits: String = told.trace_id.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(digits, native["trace"].as_str().unwrap_or_default());
    }
}

#[test]
fn what_is_not_taken_comes_again_and_what_is_rejected_does_not() {
    let directory = tempfile::tempdir().unwrap();
    let (spool, collector) = (large(directory.path()), Collector::default());
    let sink = collector.sink(Format::Json);
    let mut delivery = Delivery::open("otlp".into(), sink, directory.path());
    start(&spool, "a");
    spool.keep_all().unwrap();
    let mut now = NOW;
    for (status, retry_after, after) in [
        (503, Some("20"), 20_000),
        (429, None, 1_000),
        (400, None, 2_000),
    ] {
        let mut answer = Response::builder().status(status);
        if let Some(seconds) = retry_after {
            answer = answer.header("retry-after", seconds);
        }
        collector.says(answer.body(Vec::new()).unwrap());
        let until = now + after;
        let step = delivery.step(spool.number(), now).unwrap();
        assert_eq!(step, Step::Away { until }, "{status}");
        now = until;
    }
    collector.says(partly(1));
    assert_eq!(
        delivery.step(spool.number(), now).unwrap(),
        Step::Delivered(1)
    );
    assert_eq!(delivery.step(spool.number(), now).unwrap(), Step::Idle);
    let sent = collector.records();
    assert_eq!(sent.len(), 4);
    assert!(sent.iter().all(|one| one == &sent[0]));
    assert_eq!((delivery.seq(), delivery.rejected()), (1, 1));
}

#[test]
fn a_collector_that_is_away_for_ten_minutes_misses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (spool, collector) = (large(directory.path()), Collector::default());
    let sink = collector.sink(Format::Json);
    let mut delivery = Delivery::open("otlp".into(), sink, directory.path());
    collector.is_away.store(true, Relaxed);
    let mut now = NOW;
    for _ in 0..600 {
        for _ in 0..20 {
            start(&spool, "a");
            end(&spool, "a");
        }
        spool.keep_all().unwrap();
        delivery.step(spool.number(), now).unwrap();
        spool.tidy(delivery.passed());
        now += 1_000;
    }
    assert!(delivery.held() < 1 << 20, "memory is bounded");
    collector.is_away.store(false, Relaxed);
    now += 30_000;
    while delivery.step(spool.number(), now).unwrap() != Step::Idle {}
    let told = collector.records().into_iter().flatten();
    let uids = told.map(|one| find(&one.attributes, "log.record.uid").to_owned());
    let all = (1..=24_000).map(|seq| format!("00c0ffee:{seq}"));
    assert!(uids.eq(all), "all, once, in order");
}
