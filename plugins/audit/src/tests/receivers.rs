//! Sinks that are reached over the network, by a world that the test makes: what is sent, what comes of
//! an outage of ten minutes, and that nothing of it is lost.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read, Write};
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use http::{HeaderMap, Request, Response};
use ring::hmac;
use serde_json::Value;
use turnpike_api::{Clock, Secret};

use super::samples::{HOSTILE, samples};
use super::*;
use crate::delivery::{Delivery, Step};
use crate::sinks::outside::{Connection, Line, Outside, OutsideError, Renewable};
use crate::sinks::splunk_hec::{self, Acknowledge, SplunkHec};
use crate::sinks::syslog::Syslog;
use crate::sinks::webhook::{self, Webhook};
use crate::{Format, Stream};

const SECRET: &str = "whsec_c2lnbmVkLXdpdGgtdGhpcy1rZXktMDEyMzQ1Njc4OQ==";

const TOKEN: &str = "receiver-token-0123456789";

#[derive(Clone)]
pub(super) struct Now(Arc<AtomicU64>);

impl Now {
    pub(super) fn new() -> Self {
        Self(Arc::new(AtomicU64::new(NOW)))
    }

    pub(super) fn advance(&self, milliseconds: u64) {
        self.0.fetch_add(milliseconds, Relaxed);
    }
}

impl Clock for Now {
    fn now(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A receiver over HTTP, which remembers what it answered 200 to.
#[derive(Clone, Default)]
pub(super) struct Receiver {
    /// What it answers next; 200 where nothing is said.
    script: Arc<Mutex<VecDeque<Response<Vec<u8>>>>>,
    pub(super) is_away: Arc<AtomicBool>,
    pub(super) heard: Arc<Mutex<Vec<Request<Vec<u8>>>>>,
    /// It numbers what it hears as Splunk does, and says of all that it is indexed, or of none.
    pub(super) indexes: Arc<Mutex<Option<bool>>>,
    /// What it answers 200 with, by the path.
    bodies: Arc<Mutex<BTreeMap<String, VecDeque<String>>>>,
}

impl Receiver {
    pub(super) fn answers(&self, status: u16, header: Option<(&str, &str)>) {
        let mut answer = Response::builder().status(status);
        if let Some((name, value)) = header {
            answer = answer.header(name, value);
        }
        self.script
            .lock()
            .unwrap()
            .push_back(answer.body(Vec::new()).unwrap());
    }

    pub(super) fn says(&self, path: &str, body: &str) {
        let mut bodies = self.bodies.lock().unwrap();
        bodies
            .entry(path.into())
            .or_default()
            .push_back(body.into());
    }
}

impl Outside for Receiver {
    fn call(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, OutsideError> {
        if self.is_away.load(Relaxed) {
            return Err(OutsideError("nobody answers".into()));
        }
        if let Some(answer) = self.script.lock().unwrap().pop_front() {
            return Ok(answer);
        }
        if let Some(is_indexed) = *self.indexes.lock().unwrap() {
            let said = as_splunk(&request, self.heard.lock().unwrap().len(), is_indexed);
            self.heard.lock().unwrap().push(request);
            return Ok(Response::new(said.to_string().into_bytes()));
        }
        let mut bodies = self.bodies.lock().unwrap();
        let said = bodies
            .get_mut(request.uri().path())
            .and_then(VecDeque::pop_front);
        self.heard.lock().unwrap().push(request);
        Ok(Response::new(said.unwrap_or_default().into_bytes()))
    }
}

fn as_splunk(request: &Request<Vec<u8>>, number: usize, is_indexed: bool) -> Value {
    if request.uri().path() != ACK {
        return serde_json::json!({"text": "Success", "code": 0, "ackId": number});
    }
    let asked: Value = serde_json::from_slice(request.body()).unwrap();
    let asked = asked["acks"].as_array().unwrap().iter();
    let acks = asked.map(|id| (id.to_string(), Value::Bool(is_indexed)));
    serde_json::json!({"acks": acks.collect::<serde_json::Map<_, _>>()})
}

fn webhook(receiver: &Receiver, now: &Now, format: Format) -> Box<dyn Sink> {
    let options = webhook::Options {
        url: "https://siem.example/audit".into(),
        keys: Renewable::new(webhook::Keys {
            secret: Secret::new(SECRET),
            token: Some(Secret::new(TOKEN)),
        }),
        format,
    };
    let world = Arc::new(receiver.clone());
    Box::new(Webhook::new(options, world, Arc::new(now.clone())))
}

pub(super) fn splunk(receiver: &Receiver, now: &Now, acknowledge: bool) -> Box<dyn Sink> {
    let ack = "https://splunk.example:8088/services/collector/ack";
    let options = splunk_hec::Options {
        url: "https://splunk.example:8088/services/collector/event".into(),
        acknowledge: acknowledge.then(|| Acknowledge {
            pause: Duration::ZERO,
            ..Acknowledge::new(ack.into(), "channel-1".into())
        }),
        token: Renewable::new(Secret::new(TOKEN)),
        index: Some("llm".into()),
        format: Format::Json,
    };
    let world = Arc::new(receiver.clone());
    Box::new(SplunkHec::new(options, world, Arc::new(now.clone())))
}

/// Hands on until there is nothing left, or the sink is away; answers how many records it missed.
pub(super) fn drain(delivery: &mut Delivery, spool: &Spool, now: &Now) -> u64 {
    let mut missed = 0;
    loop {
        match delivery.step(spool.number(), now.now()).unwrap() {
            Step::Idle | Step::Away { .. } => return missed,
            Step::Delivered(_) => {}
            Step::Missed { count, .. } => missed += count,
        }
    }
}

/// So many seconds, as a thread that hands on sees them.
pub(super) fn pass(seconds: u64, delivery: &mut Delivery, spool: &Spool, now: &Now) {
    for _ in 0..seconds {
        now.advance(1_000);
        drain(delivery, spool, now);
    }
}

pub(super) fn tell(spool: &Spool, records: u64) {
    for _ in 0..records {
        start(spool, "a");
    }
    spool.keep_all().unwrap();
}

/// The numbers of the records of a batch.
fn numbers(body: &[u8]) -> Vec<u64> {
    let batch: Vec<Value> = serde_json::from_slice(body).unwrap();
    batch
        .iter()
        .map(|record| record["seq"].as_u64().unwrap())
        .collect()
}

fn header<'h>(headers: &'h HeaderMap, name: &str) -> &'h str {
    headers[name].to_str().unwrap()
}

/// Checks a signature as a receiver would that has the key and the specification.
fn is_signed(request: &Request<Vec<u8>>) -> bool {
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD as BASE64;
    let of = |name| header(request.headers(), name);
    let key = BASE64.decode(SECRET.trim_start_matches("whsec_")).unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
    let mut signed = format!("{}.{}.", of("webhook-id"), of("webhook-timestamp")).into_bytes();
    signed.extend_from_slice(request.body());
    let tag = of("webhook-signature").strip_prefix("v1,").unwrap();
    hmac::verify(&key, &signed, &BASE64.decode(tag).unwrap()).is_ok()
}

#[test]
fn a_webhook_gets_signed_batches_of_the_records_themselves() {
    let directory = tempfile::tempdir().unwrap();
    let (spool, now, receiver) = (large(directory.path()), Now::new(), Receiver::default());
    let sink = webhook(&receiver, &now, Format::Json);
    let mut delivery = Delivery::open("webhook".into(), sink, directory.path());
    tell(&spool, 1200);
    drain(&mut delivery, &spool, &now);
    let heard = receiver.heard.lock().unwrap();
    let batches: Vec<_> = heard
        .iter()
        .map(|request| numbers(request.body()))
        .collect();
    assert_eq!(
        batches.iter().map(Vec::len).collect::<Vec<_>>(),
        [500, 500, 200]
    );
    assert!(batches.concat().into_iter().eq(1..=1200));
    let mut ids = Vec::new();
    for request in &*heard {
        assert!(is_signed(request));
        assert_eq!(request.uri(), "https://siem.example/audit");
        let of = |name| header(request.headers(), name).to_owned();
        assert_eq!(of("authorization"), format!("Bearer {TOKEN}"));
        assert_eq!(of("webhook-timestamp"), (NOW / 1000).to_string());
        assert_eq!(of("webhook-id"), of("idempotency-key"));
        ids.push(of("webhook-id"));
    }
    assert_eq!(
        ids,
        ["00c0ffee-1-500", "00c0ffee-501-500", "00c0ffee-1001-200"]
    );
    // Byte for byte: the chain can be verified by who receives it.
    let text = str::from_utf8(heard[2].body()).unwrap();
    let lines = text.trim_matches(['[', ']']).split(",\n");
    let records = records(directory.path());
    assert!(
        lines.eq(records[1000..]
            .iter()
            .map(|record| str::from_utf8(record).unwrap()))
    );
}

#[test]
fn a_batch_that_comes_again_is_the_same_batch() {
    let directory = tempfile::tempdir().unwrap();
    let (spool, now, receiver) = (large(directory.path()), Now::new(), Receiver::default());
    let sink = webhook(&receiver, &now, Format::Json);
    let mut delivery = Delivery::open("webhook".into(), sink, directory.path());
    tell(&spool, 3);
    for (status, header, after) in [
        (500, None, 500),
        // As long as it asks for, where that is longer than the back-off.
        (429, Some(("retry-after", "20")), 20_000),
        (503, Some(("retry-after", "1")), 2_000),
        // What never passes is tried again all the same.
        (400, None, 4_000),
        (404, None, 8_000),
        (413, None, 16_000),
        (401, None, 30_000),
        (302, None, 30_000),
    ] {
        receiver.answers(status, header);
        let step = delivery.step(spool.number(), now.now()).unwrap();
        let until = now.now() + after;
        assert_eq!(step, Step::Away { until }, "{status}");
        now.advance(after - 1);
        assert_eq!(
            delivery.step(spool.number(), now.now()).unwrap(),
            Step::Away { until }
        );
        now.advance(1);
        // More happens meanwhile.
        tell(&spool, 1);
    }
    drain(&mut delivery, &spool, &now);
    let heard = receiver.heard.lock().unwrap();
    let ids = heard
        .iter()
        .map(|request| header(request.headers(), "webhook-id"));
    assert!(ids.eq(["00c0ffee-1-3", "00c0ffee-4-8"]));
}

#[test]
fn a_webhook_gets_each_format_as_json() {
    for format in [
        Format::Ocsf(Stream::Audit),
        Format::Ecs(Stream::Audit),
        Format::Cef,
    ] {
        let (now, receiver) = (Now::new(), Receiver::default());
        let mut batch = Batch::default();
        let records = samples();
        for (seq, record) in (41..).zip(&records) {
            batch.push(record, seq);
        }
        webhook(&receiver, &now, format).deliver(&batch).unwrap();
        let heard = receiver.heard.lock().unwrap();
        let list: Vec<Value> = serde_json::from_slice(heard[0].body()).unwrap();
        assert_eq!(list.len(), records.len());
        assert_eq!(list[0].is_string(), format == Format::Cef);
    }
}

#[test]
fn splunk_gets_events_with_their_time_and_index() {
    let directory = tempfile::tempdir().unwrap();
    let (spool, now, receiver) = (large(directory.path()), Now::new(), Receiver::default());
    let sink = splunk(&receiver, &now, false);
    let mut delivery = Delivery::open("splunk".into(), sink, directory.path());
    tell(&spool, 2);
    drain(&mut delivery, &spool, &now);
    let heard = receiver.heard.lock().unwrap();
    assert_eq!(
        header(heard[0].headers(), "authorization"),
        format!("Splunk {TOKEN}")
    );
    assert!(!heard[0].headers().contains_key("x-splunk-request-channel"));
    let events = serde_json::Deserializer::from_slice(heard[0].body()).into_iter::<Value>();
    let events: Vec<Value> = events.map(Result::unwrap).collect();
    assert_eq!(events.len(), 2);
    for (field, value) in [
        ("/index", Value::from("llm")),
        ("/host", "here".into()),
        ("/sourcetype", "turnpike:audit".into()),
        ("/event/seq", 1.into()),
        ("/time", 1_790_000_000.0.into()),
    ] {
        assert_eq!(events[0].pointer(field), Some(&value), "{field}");
    }
}

pub(super) const EVENTS: &str = "/services/collector/event";
pub(super) const ACK: &str = "/services/collector/ack";

/// The numbers of the records that Splunk was sent with each request.
pub(super) fn sent(receiver: &Receiver) -> Vec<Vec<u64>> {
    let heard = receiver.heard.lock().unwrap();
    let events = heard
        .iter()
        .filter(|request| request.uri().path() == EVENTS);
    let numbers = events.map(|request| {
        let events = serde_json::Deserializer::from_slice(request.body()).into_iter::<Value>();
        let numbers = events.map(|event| event.unwrap()["event"]["seq"].as_u64().unwrap());
        numbers.collect()
    });
    numbers.collect()
}

#[test]
fn a_token_that_acknowledges_nothing_is_no_receiver_where_that_is_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let (spool, now, receiver) = (large(directory.path()), Now::new(), Receiver::default());
    let mut batch = Batch::default();
    tell(&spool, 1);
    batch.push(&records(directory.path())[0], 1);
    receiver.says(EVENTS, r#"{"text":"Success","code":0}"#);
    let error = splunk(&receiver, &now, true).deliver(&batch).unwrap_err();
    assert!(error.why.contains("acknowledges nothing"), "{error}");
    assert!(!error.why.contains(TOKEN));
}

/// A syslog receiver. Whoever connects to it shares what it has read.
#[derive(Clone, Default)]
pub(super) struct Log {
    pub(super) read: Arc<Mutex<Vec<u8>>>,
    pub(super) is_away: Arc<AtomicBool>,
    /// It takes connections and closes them, and reads nothing.
    pub(super) closes: Arc<AtomicBool>,
    /// Connections that were made before so many are broken.
    pub(super) broken: Arc<AtomicU64>,
    pub(super) made: Arc<AtomicU64>,
}

struct Open {
    log: Log,
    number: u64,
    is_closed: bool,
}

impl Line for Log {
    fn connect(&self) -> Result<Box<dyn Connection>, OutsideError> {
        if self.is_away.load(Relaxed) {
            return Err(OutsideError("nobody answers".into()));
        }
        let number = self.made.fetch_add(1, Relaxed);
        Ok(Box::new(Open {
            log: self.clone(),
            number,
            is_closed: self.closes.load(Relaxed),
        }))
    }
}

impl Read for Open {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Ok(0)
    }
}

impl Write for Open {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // What is written goes no farther than this machine.
        if !self.is_closed {
            self.log.read.lock().unwrap().extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Connection for Open {
    fn check(&mut self) -> Result<(), OutsideError> {
        match self.is_closed || self.number < self.log.broken.load(Relaxed) {
            true => Err(OutsideError("it closed the connection".into())),
            false => Ok(()),
        }
    }

    fn finish(&mut self) {}
}

impl Log {
    /// The messages, by their lengths.
    pub(super) fn messages(&self) -> Vec<String> {
        let read = self.read.lock().unwrap();
        let (mut rest, mut messages) = (&read[..], Vec::new());
        while !rest.is_empty() {
            let blank = rest.iter().position(|byte| *byte == b' ').unwrap();
            let length: usize = str::from_utf8(&rest[..blank]).unwrap().parse().unwrap();
            let (message, after) = rest[blank + 1..].split_at(length);
            messages.push(String::from_utf8(message.to_vec()).unwrap());
            rest = after;
        }
        messages
    }

    pub(super) fn sink(&self, now: &Now, format: Format) -> Box<dyn Sink> {
        let line = Box::new(self.clone());
        Box::new(Syslog::new(line, format, Arc::new(now.clone())))
    }
}

#[test]
fn syslog_messages_have_a_header_and_parameters_that_no_text_breaks_out_of() {
    let (log, now) = (Log::default(), Now::new());
    let mut batch = Batch::default();
    let records = samples();
    for (seq, record) in (41..).zip(&records) {
        batch.push(record, seq);
    }
    log.sink(&now, Format::Json).deliver(&batch).unwrap();
    let messages = log.messages();
    assert_eq!(messages.len(), records.len());
    for (message, record) in messages.iter().zip(&records) {
        assert!(message.chars().all(|c| !c.is_ascii_control()), "{message}");
        assert!(message.ends_with(str::from_utf8(record).unwrap()));
    }
    let denied = messages
        .iter()
        .find(|message| message.contains("authorization.denied"))
        .unwrap();
    let (header, rest) = denied.split_once(" [").unwrap();
    let header: Vec<&str> = header.split(' ').collect();
    let time = "2026-09-21T14:13:20.000Z";
    let pid = std::process::id().to_string();
    let expected = [
        "<108>1",
        time,
        "host-1",
        "turnpike",
        &pid,
        "authorization.denied",
    ];
    assert_eq!(header, expected);
    let escaped = HOSTILE
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace(']', "\\]")
        .replace('\n', "\\\\u000a")
        .replace('\r', "\\\\u000d")
        .replace('\u{1b}', "\\\\u001b")
        .replace('\u{7f}', "\\\\u007f")
        .replace('\u{85}', "\\\\u0085");
    assert!(
        rest.starts_with("turnpike@32473 chain=\"5f0c9a1e22b7d340\" seq=\""),
        "{rest}"
    );
    assert!(
        rest.contains(&format!(" model=\"{escaped}\" decision=\"decision-4\"] {{")),
        "{rest}"
    );
}

#[test]
fn what_a_broken_connection_may_have_lost_is_sent_again() {
    let directory = tempfile::tempdir().unwrap();
    let (spool, now, log) = (large(directory.path()), Now::new(), Log::default());
    let sink = log.sink(&now, Format::Json);
    let mut delivery = Delivery::open("syslog".into(), sink, directory.path());
    tell(&spool, 2);
    drain(&mut delivery, &spool, &now);
    pass(60, &mut delivery, &spool, &now);
    tell(&spool, 3);
    drain(&mut delivery, &spool, &now);
    // The receiver dies with what it has not read yet.
    log.broken.store(1, Relaxed);
    log.read.lock().unwrap().clear();
    // Long before anybody notices.
    now.advance(3_600_000);
    tell(&spool, 1);
    drain(&mut delivery, &spool, &now);
    assert_eq!((delivery.seq(), delivery.is_away()), (2, true));
    now.advance(500);
    drain(&mut delivery, &spool, &now);
    let seqs = log
        .messages()
        .into_iter()
        .map(|message| crate::record::seq_of(message.as_bytes()));
    assert!(
        seqs.flatten().eq([3, 4, 5, 6]),
        "those of the last seconds, and the new one"
    );
    assert_eq!(delivery.seq(), 6);
}

/// The numbers in what a receiver has read, whatever is around them.
pub(super) fn seqs(bytes: &[u8]) -> Vec<u64> {
    let found = memchr::memmem::find_iter(bytes, b",\"seq\":");
    let seqs = found.map(|at| crate::record::seq_of(&bytes[at..]).unwrap());
    seqs.collect()
}

#[test]
fn ten_minutes_without_a_receiver_lose_nothing() {
    let (receiver, log, now) = (Receiver::default(), Log::default(), Now::new());
    for _ in 0..2_000 {
        receiver.says(EVENTS, r#"{"ackId":7}"#);
        receiver.says(ACK, r#"{"acks":{"7":true}}"#);
    }
    let directory = tempfile::tempdir().unwrap();
    let spool = large(directory.path());
    let sinks = [
        ("webhook", webhook(&receiver, &now, Format::Json)),
        ("splunk", splunk(&receiver, &now, true)),
        ("syslog", log.sink(&now, Format::Json)),
    ];
    let open = |(name, sink): (&str, _)| Delivery::open(name.into(), sink, directory.path());
    let mut deliveries = sinks.map(open);
    receiver.is_away.store(true, Relaxed);
    log.is_away.store(true, Relaxed);
    for _ in 0..600 {
        tell(&spool, 500);
        for delivery in &mut deliveries {
            assert_eq!(drain(delivery, &spool, &now), 0);
        }
        now.advance(1_000);
    }
    for delivery in &deliveries {
        assert!(delivery.held() < 1 << 20, "memory is bounded");
        assert_eq!(delivery.seq(), 0);
    }
    assert!(spool.held() < 1 << 20);
    receiver.is_away.store(false, Relaxed);
    log.is_away.store(false, Relaxed);
    now.advance(31_000);
    for delivery in &mut deliveries {
        assert_eq!(drain(delivery, &spool, &now), 0);
        delivery.finish(now.now()).unwrap();
        assert_eq!(delivery.seq(), 300_000);
    }
    let heard = receiver.heard.lock().unwrap();
    let of = |path: &str| {
        let requests = heard.iter().filter(|request| request.uri().path() == path);
        requests
            .flat_map(|request| seqs(request.body()))
            .collect::<Vec<_>>()
    };
    assert!(
        of("/audit").into_iter().eq(1..=300_000),
        "all, once, in order"
    );
    assert!(of(EVENTS).into_iter().eq(1..=300_000));
    assert!(seqs(&log.read.lock().unwrap()).into_iter().eq(1..=300_000));
}
