//! Syslog to receivers that take a connection and do not keep it.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use turnpike::clock::Time;

use super::{Authority, House, NOW, builder, call, canary, certificate, directory, house, of_sink};
use super::{stopped, until};

/// What a receiver has read, and how many connections it did not keep.
#[derive(Clone, Default)]
struct Received {
    bytes: Arc<Mutex<Vec<Vec<u8>>>>,
    broken: Arc<AtomicUsize>,
}

impl Received {
    async fn read(&self, mut stream: impl AsyncRead + Unpin) {
        let nth = {
            let mut all = self.bytes.lock().unwrap();
            all.push(Vec::new());
            all.len() - 1
        };
        let mut piece = [0; 4096];
        while let Ok(length @ 1..) = stream.read(&mut piece).await {
            self.bytes.lock().unwrap()[nth].extend_from_slice(&piece[..length]);
        }
    }

    /// The numbers of the records that came whole.
    fn seqs(&self) -> BTreeSet<u64> {
        let all = self.bytes.lock().unwrap();
        all.iter().for_each(|bytes| canary::left("syslog", bytes));
        all.iter().flat_map(|bytes| seqs(bytes)).collect()
    }
}

fn seqs(mut rest: &[u8]) -> Vec<u64> {
    let mut seqs = Vec::new();
    while let Some(blank) = rest.iter().position(|byte| *byte == b' ') {
        let length = std::str::from_utf8(&rest[..blank])
            .unwrap()
            .parse()
            .unwrap();
        let Some((message, after)) = rest[blank + 1..].split_at_checked(length) else {
            break;
        };
        let document = message.windows(2).position(|two| two == b" {").unwrap();
        let document: Value = serde_json::from_slice(&message[document..]).unwrap();
        seqs.push(document["event"]["sequence"].as_u64().unwrap());
        rest = after;
    }
    seqs
}

/// Some thirty times as fast as it passes. A connection that is broken is known to be long before forty
/// seconds of the clock's: a sink looks twice a second, and believes no more than five seconds of a look.
async fn time_passes_until(time: &Time, condition: impl Fn() -> bool) {
    until(|| {
        time.advance(Duration::from_millis(100));
        condition()
    })
    .await;
}

/// The sink is well, and all that was told so far is there.
async fn all_arrived(house: &House, time: &Time) {
    let of = |metric| of_sink(house, metric, "syslog ");
    time_passes_until(time, || {
        of("turnpike_audit_sink_away") == 0.0
            && of("turnpike_audit_waiting") == 0.0
            && of("turnpike_audit_delivered_total") > 0.0
    })
    .await;
}

/// Stops the gateway: what it told last is there, too.
async fn has_all_of(house: &House, received: &Received) {
    let written = stopped(house).await.len() as u64;
    until(|| received.seqs().into_iter().eq(1..=written)).await;
}

#[tokio::test]
async fn what_a_receiver_died_with_is_sent_again() {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();
    let received = Received::default();
    let reads = received.clone();
    tokio::spawn(async move {
        // The first dies with what it was sent.
        let (mut first, _) = socket.accept().await.unwrap();
        let _ = first.read_u8().await;
        drop(first);
        reads.broken.fetch_add(1, Relaxed);
        while let Ok((tcp, _)) = socket.accept().await {
            reads.read(tcp).await;
        }
    });
    let (dir, _authority) = directory();
    let sink = format!("{{kind: syslog, address: \"tcp://127.0.0.1:{port}\", format: ecs}}");
    let time = Time::simulated(NOW);
    let house = house(dir, time.clone(), "", &sink).await;
    until(|| received.broken.load(Relaxed) == 1).await;
    call(&house, 2).await;
    all_arrived(&house, &time).await;
    assert!(of_sink(&house, "turnpike_audit_sink_failures_total", "syslog ") >= 1.0);
    has_all_of(&house, &received).await;
}

/// Takes connections of those who show a certificate of this directory's authority. Over TLS 1.3 others
/// hear of it after their handshake.
async fn suspicious(dir: &Path, authority: &Authority) -> (u16, Received) {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = builder().with_client_cert_verifier(clients.build().unwrap());
    let (chain, key) = certificate(dir);
    let acceptor = TlsAcceptor::from(Arc::new(builder.with_single_cert(chain, key).unwrap()));
    let received = Received::default();
    let reads = received.clone();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = socket.accept().await {
            match acceptor.accept(tcp).await {
                Ok(tls) => reads.read(tls).await,
                Err(_) => {
                    reads.broken.fetch_add(1, Relaxed);
                }
            }
        }
    });
    (port, received)
}

#[tokio::test]
async fn one_that_refuses_our_certificate_after_the_handshake_is_away_and_misses_nothing() {
    let (dir, authority) = directory();
    Authority::new().write(dir.path(), "client", &["gateway.test"], 2);
    let (port, received) = suspicious(dir.path(), &authority).await;
    let sink = format!(
        "{{kind: syslog, address: \"tls://localhost:{port}\", format: ecs, \
         tls: {{ca_file: ca.pem, cert: client.crt, key: client.key}}}}"
    );
    let time = Time::simulated(NOW);
    let house = house(dir, time.clone(), "", &sink).await;
    call(&house, 2).await;
    let of = |metric| of_sink(&house, metric, "syslog ");
    for round in 1..4_u32 {
        until(|| received.broken.load(Relaxed) >= round as usize).await;
        time_passes_until(&time, || {
            of("turnpike_audit_sink_failures_total") >= f64::from(round)
        })
        .await;
        assert_eq!(of("turnpike_audit_sink_away"), 1.0);
        assert_eq!(of("turnpike_audit_delivered_total"), 0.0);
        if round < 3 {
            time_passes_until(&time, || received.broken.load(Relaxed) > round as usize).await;
        }
    }
    assert!(received.seqs().is_empty());
    // Its certificate is renewed, with another authority behind it.
    authority.write(house.dir.path(), "client", &["gateway.test"], 3);
    all_arrived(&house, &time).await;
    has_all_of(&house, &received).await;
}
