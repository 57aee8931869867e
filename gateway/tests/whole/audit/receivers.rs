//! Records that go to receivers over the network: a webhook and Splunk's collector, which are made here,
//! and Debian's rsyslog. Whatever they get is searched for secrets.

mod broken;
mod rsyslog;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ConfigBuilder, ServerConfig, WantsVerifier};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use turnpike::clock::Time;

use super::{CHAT, NOW, file, provider, records, stopped};
use crate::canary;
use crate::egress::Proxy;
use crate::harness::{Client, House, Http, chat, config, until};
use crate::tls::Authority;

const SECRET: &str = "sign-with-these-32-bytes-0123456";
const TOKEN: &str = "collector-token-0123456789";

/// A receiver over HTTPS on this machine.
#[derive(Clone, Default)]
struct Receiver {
    heard: Arc<Mutex<Vec<Heard>>>,
    /// What it answers next, before it hears again.
    refusals: Arc<Mutex<VecDeque<u16>>>,
    /// The only token that it takes; `None` = it does not look.
    token: Arc<Mutex<Option<&'static str>>>,
}

struct Heard {
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Receiver {
    /// Serves with `localhost.crt` of this directory; answers its port.
    async fn serve(&self, dir: &Path) -> u16 {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = socket.local_addr().unwrap().port();
        let acceptor = acceptor(dir);
        let receiver = self.clone();
        tokio::spawn(async move {
            while let Ok((tcp, _)) = socket.accept().await {
                let (acceptor, receiver) = (acceptor.clone(), receiver.clone());
                tokio::spawn(async move {
                    let Ok(tls) = acceptor.accept(tcp).await else {
                        return;
                    };
                    let answer = service_fn(|request| receiver.answer(request));
                    let serve = hyper::server::conn::http1::Builder::new();
                    let _ = serve.serve_connection(TokioIo::new(tls), answer).await;
                });
            }
        });
        port
    }

    async fn answer(&self, request: Request<Incoming>) -> hyper::Result<Response<Full<Bytes>>> {
        let (head, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        canary::left("a receiver of records", &body);
        if let Some(status) = self.refusals.lock().unwrap().pop_front() {
            let refusal = Response::builder()
                .status(status)
                .header("retry-after", "2");
            return Ok(refusal.body(Full::default()).unwrap());
        }
        let shown = head.headers.get("authorization");
        let shown = shown.map_or(&b""[..], |shown| shown.as_bytes());
        if let Some(token) = *self.token.lock().unwrap()
            && !shown.ends_with(token.as_bytes())
        {
            let refusal = Response::builder().status(401);
            return Ok(refusal.body(Full::default()).unwrap());
        }
        let path = head.uri.path().to_owned();
        let said = match path.as_str() {
            "/services/collector/ack" => {
                let asked: Value = serde_json::from_slice(&body).unwrap();
                let acks = asked["acks"].as_array().unwrap().iter();
                let acks = acks.map(|id| (id.to_string(), Value::Bool(true)));
                json!({"acks": acks.collect::<serde_json::Map<_, _>>()})
            }
            _ => json!({"text": "Success", "code": 0, "ackId": self.heard.lock().unwrap().len()}),
        };
        let headers = head.headers;
        self.heard.lock().unwrap().push(Heard {
            path,
            headers,
            body,
        });
        Ok(Response::new(Full::from(said.to_string())))
    }
}

fn acceptor(dir: &Path) -> TlsAcceptor {
    let builder = builder().with_no_client_auth();
    let (chain, key) = certificate(dir);
    TlsAcceptor::from(Arc::new(builder.with_single_cert(chain, key).unwrap()))
}

fn builder() -> ConfigBuilder<ServerConfig, WantsVerifier> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider);
    builder.with_safe_default_protocol_versions().unwrap()
}

/// Of `localhost`, as it is written in this directory.
fn certificate(dir: &Path) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let chain = CertificateDer::pem_file_iter(dir.join("localhost.crt")).unwrap();
    let key = PrivateKeyDer::from_pem_file(dir.join("localhost.key")).unwrap();
    (chain.map(Result::unwrap).collect(), key)
}

/// A directory with an authority and a certificate of this machine.
fn directory() -> (tempfile::TempDir, Authority) {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    authority.write(dir.path(), "localhost", &["localhost"], 1);
    std::fs::write(dir.path().join("ca.pem"), authority.pem()).unwrap();
    (dir, authority)
}

/// A gateway whose records go to a file and to this sink.
async fn house(dir: tempfile::TempDir, time: Time, egress: &str, sink: &str) -> House {
    let provider = Box::leak(Box::new(provider().await));
    let yaml = format!(
        "egress: {{ca_file: ca.pem{egress}}}\n\
         audit: {{sinks: [{{kind: file, path: audit.jsonl}}, {sink}]}}\n{}",
        config(&provider.base_url(), 1)
    );
    House::serve_by(time, dir, &yaml).await
}

async fn call(house: &House, times: usize) {
    let mut client = Client::connect(house, Http::One).await;
    for _ in 0..times {
        assert_eq!(client.post(CHAT, chat("gpt-4o")).await.status, 200);
    }
    house.settled().await;
}

/// The value of the series of the sink that begins so.
fn of_sink(house: &House, metric: &str, sink: &str) -> f64 {
    let begin = format!("{metric}{{sink=\"{sink}");
    let text = house.metrics();
    let line = text.lines().find(|line| line.starts_with(&begin)).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_webhook_gets_every_record_signed_through_the_egress_proxy() {
    let (dir, _authority) = directory();
    let receiver = Receiver::default();
    let port = receiver.serve(dir.path()).await;
    let proxy = Proxy::start("http", false).await;
    let sink = format!(
        "{{kind: webhook, url: \"https://localhost:{port}/audit/llm\", secret: {SECRET}, token: {TOKEN}}}"
    );
    let egress = format!(", proxy_url: \"{}\"", proxy.url);
    let house = house(dir, Time::simulated(NOW), &egress, &sink).await;
    call(&house, 3).await;
    let written = stopped(&house).await;

    let heard = receiver.heard.lock().unwrap();
    let mut received = Vec::new();
    for one in &*heard {
        let of = |name| one.headers[name].to_str().unwrap();
        assert_eq!(one.path, "/audit/llm");
        assert_eq!(of("authorization"), format!("Bearer {TOKEN}"));
        assert_eq!(of("webhook-timestamp"), (NOW / 1000).to_string());
        assert!(is_signed_with(SECRET, one));
        received.extend(serde_json::from_slice::<Vec<Value>>(&one.body).unwrap());
    }
    assert_eq!(received, written, "all of them, in order, each once");
    assert!(proxy.tunnels().contains(&format!("localhost:{port}")));
}

fn is_signed_with(secret: &str, one: &Heard) -> bool {
    let of = |name| one.headers[name].to_str().unwrap();
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret.as_bytes());
    let mut signed = format!("{}.{}.", of("webhook-id"), of("webhook-timestamp")).into_bytes();
    signed.extend_from_slice(&one.body);
    let tag = of("webhook-signature").strip_prefix("v1,").unwrap();
    ring::hmac::verify(&key, &signed, &BASE64.decode(tag).unwrap()).is_ok()
}

#[tokio::test]
async fn a_receiver_that_wants_another_token_gets_the_rest_without_a_restart() {
    let (tokens, keys) = (
        ["rotated-token-before", "rotated-token-behind"],
        [
            "signed-with-before-the-rotation-1",
            "signed-with-behind-the-rotation-2",
        ],
    );
    let (dir, _authority) = directory();
    let receiver = Receiver::default();
    let port = receiver.serve(dir.path()).await;
    let show = |dir: &Path, at: usize| {
        std::fs::write(dir.join("siem.token"), tokens[at]).unwrap();
        std::fs::write(dir.join("siem.key"), keys[at]).unwrap();
    };
    show(dir.path(), 0);
    let at = format!("https://localhost:{port}");
    let sinks = [
        format!(
            "{{kind: webhook, url: \"{at}/llm\", secret: \"file:siem.key\", token: \"file:siem.token\"}}"
        ),
        format!("{{kind: splunk_hec, url: \"{at}\", token: \"file:siem.token\"}}"),
        format!("{{kind: otlp, url: \"{at}/otlp\", token: \"file:siem.token\"}}"),
        format!("{{kind: otlp, url: \"{at}/usage\", token: \"file:siem.token\", stream: usage}}"),
    ];
    let time = Time::simulated(NOW);
    let house = house(dir, time.clone(), "", &sinks.join(", ")).await;
    let all = |metrics: [&str; 2], value: f64| {
        let [audit, usage] = metrics;
        ["webhook", "splunk_hec", "otlp"]
            .iter()
            .all(|sink| of_sink(&house, audit, sink) == value)
            && of_sink(&house, usage, "otlp") == value
    };
    let waiting = ["turnpike_audit_waiting", "turnpike_usage_waiting"];
    let away = ["turnpike_audit_sink_away", "turnpike_usage_sink_away"];
    *receiver.token.lock().unwrap() = Some(tokens[0]);
    call(&house, 2).await;
    until(|| all(waiting, 0.0)).await;
    *receiver.token.lock().unwrap() = Some(tokens[1]);
    call(&house, 2).await;
    until(|| all(away, 1.0)).await;
    show(house.dir.path(), 1);
    house.gateway.reloader.reload().unwrap();
    call(&house, 1).await;
    until(|| {
        // It was told to wait after each failure.
        time.advance(Duration::from_secs(31));
        all(away, 0.0) && all(waiting, 0.0)
    })
    .await;
    let written = stopped(&house).await;

    let heard = receiver.heard.lock().unwrap();
    let hooks: Vec<_> = heard.iter().filter(|one| one.path == "/llm").collect();
    let received = hooks.iter().flat_map(|one| {
        let is_new = one.headers["authorization"]
            .as_bytes()
            .ends_with(tokens[1].as_bytes());
        assert!(is_signed_with(keys[usize::from(is_new)], one));
        serde_json::from_slice::<Vec<Value>>(&one.body).unwrap()
    });
    assert!(received.eq(written), "all of them, in order, each once");
    assert_eq!(house.metric("turnpike_audit_lost_total"), 0.0);
}

#[tokio::test]
async fn splunk_is_left_alone_while_it_is_busy_and_misses_nothing() {
    let (dir, _authority) = directory();
    let receiver = Receiver::default();
    let port = receiver.serve(dir.path()).await;
    let refusals = [503, 429, 400];
    receiver.refusals.lock().unwrap().extend(refusals);
    let sink = format!(
        "{{kind: splunk_hec, url: \"https://localhost:{port}\", token: {TOKEN}, index: llm, acknowledge: true, format: ocsf}}"
    );
    let time = Time::simulated(NOW);
    let house = house(dir, time.clone(), "", &sink).await;
    call(&house, 3).await;
    until(|| of_sink(&house, "turnpike_audit_sink_away", "splunk_hec localhost ") == 1.0).await;
    assert!(of_sink(&house, "turnpike_audit_waiting", "splunk_hec localhost ") > 0.0);
    until(|| {
        // It was told to wait after each failure.
        time.advance(Duration::from_secs(31));
        of_sink(&house, "turnpike_audit_waiting", "splunk_hec localhost ") == 0.0
    })
    .await;
    let of = |metric| of_sink(&house, metric, "splunk_hec localhost ");
    until(|| {
        time.advance(Duration::from_secs(1));
        of("turnpike_audit_sink_away") == 0.0
    })
    .await;
    assert_eq!(of("turnpike_audit_missed_total"), 0.0);
    assert!(receiver.refusals.lock().unwrap().is_empty());
    let written = stopped(&house).await;

    let heard = receiver.heard.lock().unwrap();
    let asked = heard
        .iter()
        .filter(|one| one.path == "/services/collector/ack");
    assert!(asked.count() > 0);
    let mut seqs = Vec::new();
    for one in heard
        .iter()
        .filter(|one| one.path == "/services/collector/event")
    {
        assert_eq!(one.headers["authorization"], format!("Splunk {TOKEN}"));
        assert_eq!(one.headers["x-splunk-request-channel"].len(), 36);
        for event in serde_json::Deserializer::from_slice(&one.body).into_iter::<Value>() {
            let event = event.unwrap();
            assert_eq!(event["index"], "llm");
            assert_eq!(event["event"]["metadata"]["version"], "1.8.0");
            seqs.push(event["event"]["metadata"]["sequence"].as_u64().unwrap());
        }
    }
    assert!(
        seqs.into_iter().eq(1..=written.len() as u64),
        "all, once, in order"
    );
}

#[tokio::test]
async fn a_receiver_that_may_not_be_called_is_not() {
    let (dir, _authority) = directory();
    let receiver = Receiver::default();
    let port = receiver.serve(dir.path()).await;
    let sinks = [
        format!("{{kind: webhook, url: \"https://localhost:{port}\", secret: {SECRET}}}"),
        format!("{{kind: syslog, address: \"tls://localhost:{port}\"}}"),
    ];
    let allowed = ", allowed_hosts: [127.0.0.1]";
    let house = house(dir, Time::system(), allowed, &sinks.join(", ")).await;
    for sink in ["webhook localhost", "syslog tls://localhost"] {
        until(|| of_sink(&house, "turnpike_audit_sink_away", sink) == 1.0).await;
    }
    call(&house, 1).await;
    assert!(!stopped(&house).await.is_empty());
    assert!(receiver.heard.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_receiver_with_another_authoritys_certificate_gets_nothing() {
    let (dir, _authority) = directory();
    let receiver = Receiver::default();
    let port = receiver.serve(dir.path()).await;
    // Made after the receiver has read its own.
    std::fs::write(dir.path().join("ca.pem"), Authority::new().pem()).unwrap();
    let sinks = [
        format!("{{kind: webhook, url: \"https://localhost:{port}\", secret: {SECRET}}}"),
        format!("{{kind: syslog, address: \"tls://localhost:{port}\"}}"),
    ];
    let house = house(dir, Time::system(), "", &sinks.join(", ")).await;
    for sink in ["webhook localhost", "syslog tls://localhost"] {
        until(|| of_sink(&house, "turnpike_audit_sink_away", sink) == 1.0).await;
    }
    let _ = stopped(&house).await;
    assert!(receiver.heard.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_file_of_another_format_goes_on_where_it_was_and_verify_reads_the_native_one() {
    let dir = tempfile::tempdir().unwrap();
    let provider = provider().await;
    let yaml = format!(
        "audit: {{sinks: [{{kind: file, path: audit.cef, format: cef}}, {{kind: file, path: audit.jsonl}}]}}\n{}",
        config(&provider.base_url(), 1)
    );
    let house = House::serve_in(dir, &yaml).await;
    call(&house, 2).await;
    let written = stopped(&house).await;
    let cef = std::fs::read_to_string(house.dir.path().join("audit.cef")).unwrap();
    canary::left("records in CEF", cef.as_bytes());
    assert_eq!(cef.lines().count(), written.len());
    for (line, record) in cef.lines().zip(&written) {
        assert!(line.starts_with("CEF:0|Turnpike|Turnpike|"), "{line}");
        assert!(line.contains(record["hash"].as_str().unwrap()));
    }
    let verified = super::command(&house, &["verify"]);
    assert!(verified.status.success(), "{}", super::said(&verified));
    assert_eq!(records(&file(&house)).len(), written.len());
}
