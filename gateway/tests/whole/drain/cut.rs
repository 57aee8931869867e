//! What is cut is told, and on record: at the limit, and when somebody does not want to wait.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use http::{Method, Request, Response};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use serde_json::Value;
use tokio::net::TcpStream;
use turnpike_loadtest::{Behaviour, FakeProvider, Options, Protocol};

use super::{BOTH, begun, open, rest, served, serving, terminate, waiting};
use crate::audit::records;
use crate::binary::Binary;
use crate::caller::{Body, streamed};
use crate::calls::{CHAT, Events, MESSAGES, STREAMS, bearer, events_of};
use crate::endings::fountain;
use crate::harness::{Answer, Client, Http, chat, until_async};
use crate::pair::{Wire, at_rest, soon, stub};

/// Waits until so many requests are under way.
async fn under_way(binary: &Binary, requests: usize) {
    let series = format!("\nturnpike_requests_in_flight {requests}\n");
    until_async(async || binary.metrics().await.contains(&series)).await;
}

/// Waits for the end, and says what is on record: these requests were cut, which is told once.
async fn ends(mut binary: Binary, cut: usize) -> Vec<Value> {
    let exit = binary.ended().await;
    assert_eq!(exit.code(), Some(1), "{}", binary.log());
    let log = binary.log();
    let told: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("stopped"))
        .collect();
    let [told] = told[..] else {
        panic!("{told:?}");
    };
    assert!(told.contains("requests that were under way were cut"));
    assert!(told.ends_with(&format!("cut={cut}")), "{told}");
    let all = records(&binary.config.with_file_name("audit.jsonl"));
    assert_eq!(of(&all, "gateway.stopped").len(), 1);
    all
}

fn of<'r>(records: &'r [Value], event: &str) -> Vec<&'r Value> {
    records.iter().filter(|one| one["event"] == event).collect()
}

/// Each call that began has one end, and that says why. Answers how many ended in which way.
fn ended_for_it(all: &[Value], calls: usize) -> HashMap<&str, usize> {
    assert_eq!(of(all, "request.start").len(), calls);
    let ends = of(all, "request.end");
    assert_eq!(ends.len(), calls, "each once");
    let mut ways = HashMap::new();
    for end in ends {
        assert_eq!(end["reason"], "draining", "{end}");
        *ways.entry(end["outcome"].as_str().unwrap()).or_default() += 1;
    }
    ways
}

#[tokio::test]
async fn what_is_cut_at_the_limit_is_told_so_and_on_record() {
    are_told("lame_duck: -1, limit: 500ms", 1).await;
}

#[tokio::test]
async fn a_second_signal_cuts_at_once_and_in_the_same_way() {
    are_told("lame_duck: 7d, limit: 5m", 2).await;
}

/// Of each dialect a stream that has begun, and a call without an answer.
async fn are_told(drain: &str, signals: usize) {
    let (provider, binary) = served(drain).await;
    let mut streams = Vec::new();
    for call in &STREAMS {
        provider.always(call.key, begun(call));
        for http in BOTH {
            streams.push((call, open(&binary, call, http).await));
        }
    }
    provider.always(MESSAGES.key, Behaviour::Hang);
    let mut unanswered = Vec::new();
    for http in BOTH {
        let mut client = binary.client(http).await;
        unanswered.push(tokio::spawn(async move {
            client.post(MESSAGES.path, chat("claude-sonnet-4-5")).await
        }));
    }
    let calls = streams.len() + unanswered.len();
    provider.wait_for_calls(calls).await;

    terminate(&binary).await;
    for _ in 1..signals {
        binary.signal("-TERM").await;
    }
    for (call, (_client, events)) in streams {
        let text = rest(events).await;
        let last = events_of(&text).pop().unwrap().to_owned();
        assert!(last.contains("the gateway shut down"), "{call:?}: {text}");
        assert!(
            last.contains("error") && !text.contains(call.terminal),
            "{call:?}: {text}"
        );
    }
    for answer in unanswered {
        is_turned_away(&answer.await.unwrap());
    }
    let all = ends(binary, calls).await;
    let ways = ended_for_it(&all, calls);
    assert_eq!((ways["incomplete"], ways["refused"]), (calls - 2, 2));
}

fn is_turned_away(answer: &Answer) {
    assert_eq!(
        (answer.status, answer.header("retry-after")),
        (503, Some("1"))
    );
    assert!(answer.text().contains("shutting down"), "{}", answer.text());
}

/// Neither keeps it from being on record; and who still sends is told.
#[tokio::test]
async fn who_reads_nothing_is_cut_and_who_still_uploads_is_told() {
    let sent = Arc::new(AtomicUsize::new(0));
    let base_url = fountain(sent.clone()).await;
    let binary = serving(&base_url, "lame_duck: -1, limit: 300ms", "").await;
    let mut readers = Vec::new();
    for http in BOTH {
        let mut client = binary.client(http).await;
        let mut request = client.request("/v1/files/file-1/content", "");
        *request.method_mut() = Method::GET;
        request.headers_mut().remove("content-type");
        let answer = client.send(request).await.unwrap();
        assert_eq!(answer.status(), 200);
        readers.push((client, answer));
    }
    at_rest(|| sent.load(Ordering::Relaxed)).await;
    let mut http1 = Wire::to(binary.proxy).await;
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: localhost\r\nauthorization: {}\r\ncontent-length: 100\r\n\r\n{{",
        CHAT.path,
        bearer()
    );
    http1.send(&head).await;
    let (http2, _sending) = half_an_upload(&binary).await;
    under_way(&binary, 4).await;

    terminate(&binary).await;
    let (head, body) = http1.answer().await;
    assert!(head.starts_with("http/1.1 503"), "{head}");
    assert!(body.contains("draining"), "{body}");
    assert_eq!(soon(http2).await.unwrap().status(), 503);
    let all = ends(binary, 4).await;
    assert_eq!(ended_for_it(&all, 2), HashMap::from([("incomplete", 2)]));
}

/// A call over HTTP/2 of which more is to come.
async fn half_an_upload(binary: &Binary) -> (h2::client::ResponseFuture, h2::SendStream<Bytes>) {
    let tcp = TcpStream::connect(binary.proxy).await.unwrap();
    let (mut client, connection) = h2::client::handshake(tcp).await.unwrap();
    tokio::spawn(connection);
    let request = Request::post(format!("http://localhost{}", CHAT.path))
        .header("authorization", bearer())
        .body(())
        .unwrap();
    let (answer, mut sending) = client.send_request(request, false).unwrap();
    sending.send_data(Bytes::from_static(b"{"), false).unwrap();
    (answer, sending)
}

/// More have connected than may: they are not reset.
#[tokio::test]
async fn who_waits_for_a_place_is_told() {
    let provider = FakeProvider::start(Options::new(Protocol::Http1)).await;
    provider.always(CHAT.key, begun(&CHAT));
    let more = ", limits: {max_connections: 2}";
    let drain = "lame_duck: -1, limit: 500ms";
    let binary = serving(&provider.base_url(), drain, more).await;
    let mut streams = Vec::new();
    for http in BOTH {
        streams.push(open(&binary, &CHAT, http).await);
    }
    let waiting = waiting(&binary).await;
    terminate(&binary).await;
    for answer in waiting {
        is_turned_away(&answer.await.unwrap());
    }
    for (_client, events) in streams {
        assert!(rest(events).await.contains("the gateway shut down"));
    }
    let all = ends(binary, 4).await;
    ended_for_it(&all, 2);
}

/// The provider does not end the answer that it has ended in its dialect.
#[tokio::test]
async fn a_stream_that_has_said_its_end_has_no_error_behind_it() {
    let base_url = provider_that_stays().await;
    let mut binary = serving(&base_url, "lame_duck: -1, limit: 300ms", "").await;
    let mut streams = Vec::new();
    for call in &STREAMS {
        for http in BOTH {
            let mut client = binary.client(http).await;
            let request = client.request(call.path, call.body);
            let answer = soon(client.send(request)).await.unwrap();
            let mut events = Events::new(answer.into_body());
            while !events
                .next()
                .await
                .expect("its end")
                .contains(call.terminal)
            {}
            streams.push((call, client, events));
        }
    }
    terminate(&binary).await;
    for (call, _client, events) in streams {
        assert_eq!(rest(events).await, "", "{call:?}");
    }
    assert!(binary.ended().await.success(), "nothing was cut");
    let all = records(&binary.config.with_file_name("audit.jsonl"));
    let ends = of(&all, "request.end");
    assert_eq!(ends.len(), STREAMS.len() * BOTH.len());
    assert!(ends.iter().all(|end| end["outcome"] == "answered"));
}

/// Answers with whole streams whose connection goes on.
async fn provider_that_stays() -> String {
    let provider = FakeProvider::start(Options::new(Protocol::Http1)).await;
    let mut texts = HashMap::new();
    for call in &STREAMS {
        let tcp = TcpStream::connect(provider.addr()).await.unwrap();
        let mut client = Client::on(tcp, Http::One).await;
        let text = client.post(call.path, call.body).await.body;
        let path = call.path.split('?').next().unwrap_or_default();
        texts.insert(path.to_owned(), text);
    }
    let texts = Arc::new(texts);
    stub(move |tcp| {
        let texts = texts.clone();
        async move {
            let service = service_fn(|request: Request<_>| {
                let text = texts[request.uri().path()].clone();
                let pieces = stream::iter([text]).chain(stream::pending());
                let answer = Response::builder().header("content-type", "text/event-stream");
                let answer: Response<Body> = answer.body(streamed(pieces)).unwrap();
                async { Ok::<_, Infallible>(answer) }
            });
            let _ = Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(tcp), service)
                .await;
        }
    })
    .await
}
