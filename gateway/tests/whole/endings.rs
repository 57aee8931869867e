//! How answers end that do not end well: broken off, too late, unheard; and answers that are read
//! slowly.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tokio::net::TcpStream;
use turnpike_loadtest::{Behaviour, Protocol};

use crate::caller::{Body, Caller, origin, streamed, whole};
use crate::harness::{Answer, House, Http, chat};
use crate::pair::{Pair, at_rest, everywhere, settings, soon, streamed_chat, stub};

const CHAT: &str = "/v1/chat/completions";

/// A stream in each dialect, and what only a whole one has.
const STREAMS: [(&str, &str, &str, &str); 3] = [
    (
        "sk-openai-1",
        CHAT,
        r#"{"model":"gpt-4o","stream":true,"messages":[{"role":"user","content":"hi"}]}"#,
        "[DONE]",
    ),
    (
        "sk-claude-1",
        "/v1/messages",
        r#"{"model":"claude-sonnet-4-5","stream":true,"max_tokens":5,"messages":[]}"#,
        "message_stop",
    ),
    (
        "AIza-gemini-1",
        "/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse",
        r#"{"contents":[{"parts":[{"text":"hi"}]}]}"#,
        "finishReason",
    ),
];

/// As many events as bring content in each of them: what comes before it is held back.
const BEGUN: usize = 4;

#[tokio::test]
async fn an_answer_that_was_cut_does_not_look_whole() {
    everywhere(1, "", async |pair| {
        let cut = Behaviour::CutMidStream { after_events: 0 };
        for behaviour in [Behaviour::TruncatedJson, cut] {
            pair.provider.script("sk-openai-1", [behaviour.clone()]);
            let mut caller = pair.caller().await;
            let request = caller.request(CHAT, whole(chat("gpt-4o")));
            let response = caller.send(request).await.unwrap();
            assert_eq!(response.status(), 200);
            let body = soon(response.into_body().collect()).await;
            assert!(body.is_err(), "{behaviour:?} looks whole");
        }
    })
    .await;
}

/// A call that begins after the deadline would be billed, and nobody would read its answer.
#[tokio::test]
async fn no_credential_is_called_after_the_deadline() {
    let server = "timeouts: {first_byte: 400ms, total: 600ms}";
    everywhere(3, server, async |pair| {
        for n in 1..=3 {
            pair.provider
                .always(&format!("sk-openai-{n}"), Behaviour::Hang);
        }
        let answer = pair.caller().await.post(CHAT, chat("gpt-4o")).await;
        assert_eq!(answer.status, 504, "{}", answer.text());
        assert!(pair.provider.count() < 3, "a third call was begun");
    })
    .await;
}

/// What the gateway writes itself has the same patience with a caller that reads nothing.
#[tokio::test]
async fn a_caller_that_takes_nothing_does_not_stay() {
    let base_url = "http://127.0.0.1:9";
    let house = House::serve(&settings(base_url, 1, "timeouts: {idle: 200ms}")).await;
    let tcp = TcpStream::connect(house.gateway.proxy).await.unwrap();
    let mut builder = h2::client::Builder::new();
    let (mut client, connection) = builder
        .initial_window_size(0)
        .handshake::<_, Bytes>(tcp)
        .await
        .unwrap();
    tokio::spawn(connection);
    let mut asked = Vec::new();
    for _ in 0..3 {
        let request = Request::get("http://localhost/").body(()).unwrap();
        asked.push(client.send_request(request, true).unwrap().0);
    }
    let mut answers = Vec::new();
    for answer in asked {
        let answer = soon(answer).await.unwrap();
        assert_eq!(answer.status(), 200);
        // The head came; its body finds no room. Dropped, it would tell the gateway so.
        answers.push(answer);
    }
    house.settled().await;
}

/// Gemini streams an array where no event stream was asked for.
#[tokio::test]
async fn a_streamed_array_that_ends_early_does_not_look_whole() {
    everywhere(1, "", async |pair| {
        let early = Behaviour::Body {
            content_type: "application/json".to_owned(),
            bytes: Bytes::from_static(
                br#"[{"candidates":[{"content":{"parts":[{"text":"half"}]}}]}"#,
            ),
            chunked: true,
        };
        pair.provider.script("AIza-gemini-1", [early]);
        let mut caller = pair.caller().await;
        let path = "/v1beta/models/gemini-2.5-pro:streamGenerateContent";
        let request = caller.request(path, whole(r#"{"contents":[]}"#));
        // An HTTP/2 reset may overtake the head.
        if let Ok(response) = caller.send(request).await {
            let body = soon(response.into_body().collect()).await;
            assert!(body.is_err(), "half an array looks whole");
        }
    })
    .await;
}

#[tokio::test]
async fn a_stream_that_was_cut_says_so_in_its_dialect() {
    everywhere(1, "", async |pair| {
        let after_events = BEGUN;
        let cut = Behaviour::CutMidStream { after_events };
        ends_with_an_error(pair, cut, "broke off").await;
        // A clean end of the connection is not the end of the answer.
        let short = Behaviour::EndWithoutTerminal { after_events };
        ends_with_an_error(pair, short, "stopped before the end").await;
    })
    .await;
}

async fn ends_with_an_error(pair: &Pair, behaviour: Behaviour, said: &str) {
    let mut caller = pair.caller().await;
    for (key, path, body, terminal) in STREAMS {
        pair.provider.script(key, [behaviour.clone()]);
        let answer = caller.post(path, body).await;
        assert_eq!(answer.status, 200);
        says_that_it_failed(&answer, said, terminal);
    }
}

/// The last event is an error, and nothing before it says that the answer is whole.
fn says_that_it_failed(answer: &Answer, said: &str, terminal: &str) {
    let text = answer.text();
    let last = text.trim_end().rsplit("\n\n").next().unwrap();
    assert!(last.contains("\"error\"") && last.contains(said), "{text}");
    assert!(!text.contains(terminal), "{text}");
}

#[tokio::test]
async fn a_provider_that_is_silent_is_given_up() {
    everywhere(1, "timeouts: {first_byte: 200ms}", async |pair| {
        let mut caller = pair.caller().await;
        for (key, path, body, _) in STREAMS {
            // Without a head, and with one but no first event.
            for silent in [Behaviour::Hang, Behaviour::Gated] {
                pair.provider.script(key, [silent]);
                let answer = caller.post(path, body).await;
                assert_eq!(answer.status, 504, "{}", answer.text());
                assert!(answer.text().contains("did not answer in time"));
            }
        }
    })
    .await;
}

#[tokio::test]
async fn after_a_silent_one_the_next_credential_serves() {
    everywhere(2, "timeouts: {first_byte: 1s}", async |pair| {
        pair.provider
            .script("sk-openai-1", [Behaviour::Hang, Behaviour::Gated]);
        let mut caller = pair.caller().await;
        for _ in 0..2 {
            let answer = caller.post(CHAT, streamed_chat("gpt-4o")).await;
            assert_eq!(answer.status, 200);
            assert!(answer.text().ends_with("data: [DONE]\n\n"));
        }
        // The calls that were given up are given up at the provider too.
        for call in pair.provider.calls_with("sk-openai-1") {
            soon(pair.provider.closed_by_peer(call.id)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_stream_that_falls_silent_says_so() {
    everywhere(1, "timeouts: {idle: 200ms}", async |pair| {
        let mut caller = pair.caller().await;
        for (key, path, body, terminal) in STREAMS {
            pair.provider.script(key, [Behaviour::Gated]);
            pair.provider.gate(key).release(BEGUN);
            let answer = caller.post(path, body).await;
            assert_eq!(answer.status, 200);
            says_that_it_failed(&answer, "said nothing", terminal);
        }
        for call in pair.provider.calls() {
            soon(pair.provider.closed_by_peer(call.id)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_takes_too_long_in_all_is_ended() {
    everywhere(1, "timeouts: {total: 2s}", async |pair| {
        let endless = Behaviour::Events {
            count: 1000,
            gap: Some(std::time::Duration::from_millis(20)),
        };
        pair.provider.script("sk-openai-1", [endless]);
        let answer = pair
            .caller()
            .await
            .post(CHAT, streamed_chat("gpt-4o"))
            .await;
        assert_eq!(answer.status, 200);
        says_that_it_failed(&answer, "not complete", "[DONE]");
    })
    .await;
}

/// The time in all is also that of the credentials together.
#[tokio::test]
async fn all_attempts_together_have_the_time_of_one_request() {
    everywhere(2, "timeouts: {total: 300ms}", async |pair| {
        for key in ["sk-openai-1", "sk-openai-2"] {
            pair.provider.script(key, [Behaviour::Hang]);
        }
        let answer = pair.caller().await.post(CHAT, chat("gpt-4o")).await;
        assert_eq!(answer.status, 504);
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_is_never_made_is_given_up() {
    // It accepts, and never says a word of TLS.
    let silent = stub(async |_tcp| std::future::pending().await).await;
    let base_url = silent.replace("http://127.0.0.1", "https://localhost");
    let house = House::serve(&settings(&base_url, 1, "timeouts: {connect: 200ms}")).await;
    for http in [Http::One, Http::Two] {
        let mut caller = Caller::connect(&house, http).await;
        let answer = caller.post(CHAT, chat("gpt-4o")).await;
        assert_eq!(answer.status, 502, "{}", answer.text());
        assert_eq!(answer.json()["error"]["code"], "upstream_unreachable");
    }
    house.settled().await;
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_unreachable() {
    let unused = stub(async |_tcp| ()).await;
    let closed = "http://127.0.0.1:1";
    for base_url in [closed, &closed.replace("http", "h2c"), &unused] {
        let house = House::serve(&settings(base_url, 1, "")).await;
        let mut caller = Caller::connect(&house, Http::One).await;
        let answer = caller.post(CHAT, chat("gpt-4o")).await;
        assert_eq!(answer.status, 502, "{base_url}: {}", answer.text());
        house.settled().await;
    }
}

/// How a client goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaving {
    /// Closes its connection.
    Closes,
    /// Gives up the one request; HTTP/2 only.
    Resets,
}

#[tokio::test]
async fn a_caller_that_leaves_before_the_answer_takes_its_call_along() {
    everywhere(2, "", async |pair| {
        for leaving in [Leaving::Closes, Leaving::Resets] {
            leaves(pair, leaving, Behaviour::Hang, chat("gpt-4o")).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_caller_that_leaves_before_the_first_event_takes_its_call_along() {
    everywhere(2, "", async |pair| {
        for leaving in [Leaving::Closes, Leaving::Resets] {
            leaves(pair, leaving, Behaviour::Gated, streamed_chat("gpt-4o")).await;
        }
    })
    .await;
}

async fn leaves(pair: &Pair, leaving: Leaving, silence: Behaviour, body: String) {
    if (pair.client, leaving) == (Http::One, Leaving::Resets) {
        return;
    }
    pair.provider.script("sk-openai-1", [silence]);
    let mut caller = pair.caller().await;
    let before = pair.provider.count();
    let request = caller.request(CHAT, whole(body));
    {
        let mut sending = std::pin::pin!(caller.send(request));
        tokio::select! {
            _ = &mut sending => panic!("answered"),
            () = soon(pair.provider.wait_for_calls(before + 1)) => {}
        }
    }
    let left = Instant::now();
    went(pair, caller, leaving, left).await;
    assert_eq!(
        pair.provider.count() - before,
        if leaving == Leaving::Resets { 2 } else { 1 }
    );
}

/// The provider sees the caller go; where only a request was given up, the connection serves on.
async fn went(pair: &Pair, mut caller: Caller, leaving: Leaving, left: Instant) {
    let call = pair.provider.calls().pop().unwrap().id;
    if leaving == Leaving::Closes {
        caller.leave().await;
        let closed = soon(pair.provider.closed_by_peer(call)).await;
        println!("{leaving:?}: gone after {:?}", closed - left);
    } else {
        let closed = soon(pair.provider.closed_by_peer(call)).await;
        println!("{leaving:?}: gone after {:?}", closed - left);
        assert_eq!(caller.post(CHAT, chat("gpt-4o")).await.status, 200);
    }
    pair.house.settled().await;
    let gone = "turnpike_requests_total";
    let metrics = pair.house.metrics();
    let counted = metrics
        .lines()
        .any(|line| line.starts_with(gone) && line.contains("\"499\""));
    assert!(counted, "{metrics}");
}

#[tokio::test]
async fn a_caller_that_leaves_within_a_stream_takes_its_call_along() {
    everywhere(1, "", async |pair| {
        for leaving in [Leaving::Closes, Leaving::Resets] {
            if (pair.client, leaving) == (Http::One, Leaving::Resets) {
                continue;
            }
            pair.provider.script("sk-openai-1", [Behaviour::Gated]);
            pair.provider.gate("sk-openai-1").release(2);
            let mut caller = pair.caller().await;
            let request = caller.request(CHAT, whole(streamed_chat("gpt-4o")));
            let mut response = caller.send(request).await.unwrap();
            soon(response.frame()).await.unwrap().unwrap();
            let left = Instant::now();
            drop(response);
            went(pair, caller, leaving, left).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_caller_that_does_not_read_stops_the_provider() {
    for client in [Http::One, Http::Two] {
        for upstream in [Protocol::Http1, Protocol::H2c] {
            println!("client HTTP/{client:?}, upstream {upstream:?}");
            let sent = Arc::new(AtomicUsize::new(0));
            let base_url = fountain(sent.clone()).await;
            let house = House::serve(&settings(&origin(&base_url, upstream), 1, "")).await;
            let mut caller = Caller::connect(&house, client).await;
            let mut request = caller.request("/v1/files/file-1/content", whole(""));
            *request.method_mut() = Method::GET;
            request.headers_mut().remove("content-type");
            let mut response = caller.send(request).await.unwrap();
            assert_eq!(response.status(), 200);

            let stalled = at_rest(|| sent.load(Ordering::Relaxed)).await;
            assert!(stalled < PIECES, "all {stalled} pieces went to nobody");
            let mut read = 0;
            while let Some(frame) = soon(response.frame()).await {
                read += frame.unwrap().into_data().unwrap().len();
            }
            assert_eq!(read, PIECES * PIECE);
            assert_eq!(sent.load(Ordering::Relaxed), PIECES);
            house.settled().await;
        }
    }
}

const PIECE: usize = 64 * 1024;

/// 64 MiB in all: several times what the sockets of two loopback connections hold.
const PIECES: usize = 1024;

/// A provider that counts the pieces of its answer as they go.
pub(crate) async fn fountain(sent: Arc<AtomicUsize>) -> String {
    stub(move |tcp| {
        let sent = sent.clone();
        async move {
            let service = service_fn(|_| {
                let sent = sent.clone();
                let pieces = std::iter::repeat_with(move || {
                    sent.fetch_add(1, Ordering::Relaxed);
                    Bytes::from_static(&[b'x'; PIECE])
                });
                let body = streamed(futures::stream::iter(pieces.take(PIECES)));
                async { Ok::<_, Infallible>(Response::<Body>::new(body)) }
            });
            let _ = Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(tcp), service)
                .await;
        }
    })
    .await
}
