//! Each behaviour as a plain client sees it, on h1 and on h2.

mod caller;

use std::time::{Duration, Instant};

use bytes::Bytes;
use caller::{ASK, ASK_STREAM, CHAT, Caller, GEMINI, MESSAGES, soon, text, what_came};
use http::Version;
use http_body_util::BodyExt;
use serde_json::Value;
use turnpike_loadtest::{Behaviour, FakeProvider, Outcome, Protocol};

const VERSIONS: [Version; 2] = [Version::HTTP_11, Version::HTTP_2];

/// A provider whose next call with key `k` gets `behaviour`, and its caller.
async fn with(behaviour: Behaviour, version: Version) -> (FakeProvider, Caller) {
    let provider = FakeProvider::start(Protocol::H2c).await;
    provider.script("k", [behaviour]);
    let caller = Caller::clear(&provider, version).await;
    (provider, caller)
}

#[tokio::test]
async fn an_ok_answer_tells_its_usage_and_the_vendors_headers() {
    for version in VERSIONS {
        let (provider, mut caller) = with(Behaviour::Ok, version).await;
        let response = caller.post(CHAT, "k", ASK).await.unwrap();
        assert_eq!(
            (response.status().as_u16(), response.version()),
            (200, version)
        );
        assert_eq!(response.headers().get_all("set-cookie").iter().count(), 2);
        assert!(
            response.headers()["x-request-id"]
                .to_str()
                .unwrap()
                .starts_with("req_")
        );
        assert!(response.headers().contains_key("content-length"));
        let body: Value = serde_json::from_str(&text(response).await).unwrap();
        assert_eq!(body["model"], "gpt-fake");
        let totals = provider.usage_of("k");
        assert_eq!(body["usage"]["prompt_tokens"], totals.input_tokens);
        assert_eq!(body["usage"]["completion_tokens"], totals.output_tokens);
        assert_eq!((totals.calls, provider.usage_total()), (1, totals));
    }
}

#[tokio::test]
async fn a_status_has_the_dialects_body_and_hints() {
    for version in VERSIONS {
        let hint = Duration::from_secs(7);
        let (provider, mut caller) = with(Behaviour::rate_limited(hint), version).await;
        let response = caller.post(CHAT, "k", ASK).await.unwrap();
        assert_eq!(response.status(), 429);
        assert_eq!(response.headers()["retry-after"], "7");
        let body: Value = serde_json::from_str(&text(response).await).unwrap();
        assert_eq!(body["error"]["code"], "rate_limit_exceeded");

        provider.script(
            "k",
            [Behaviour::rate_limited(hint), Behaviour::overloaded()],
        );
        let body: Value = serde_json::from_str(&caller.text(GEMINI, "k", ASK).await).unwrap();
        assert_eq!(body["error"]["details"][2]["retryDelay"], "7s");
        let response = caller.post(MESSAGES, "k", ASK).await.unwrap();
        assert_eq!(response.status(), 529);
        let id = response.headers()["request-id"]
            .to_str()
            .unwrap()
            .to_owned();
        let body: Value = serde_json::from_str(&text(response).await).unwrap();
        assert_eq!(
            (body["request_id"].as_str(), &body["error"]["type"]),
            (Some(&*id), &"overloaded_error".into())
        );

        provider.script("k", [Behaviour::overloaded()]);
        assert_eq!(caller.post(CHAT, "k", ASK).await.unwrap().status(), 503);
    }
}

#[tokio::test]
async fn cuts_before_the_answer_are_errors_of_the_connection() {
    for version in VERSIONS {
        for cut in [Behaviour::CutBeforeHead, Behaviour::CutBeforeRead] {
            let (provider, mut caller) = with(cut.clone(), version).await;
            assert!(
                soon(caller.post(CHAT, "k", ASK)).await.is_err(),
                "{cut:?} {version:?}"
            );
            let read = if cut == Behaviour::CutBeforeHead {
                ASK.len()
            } else {
                0
            };
            assert_eq!(provider.calls()[0].body_len, read);
            assert_eq!(provider.outcome(1).await, Outcome::Cut);
        }
    }
}

#[tokio::test]
async fn cuts_in_the_body_are_no_clean_end_and_nothing_before_them_is_lost() {
    for version in VERSIONS {
        let (provider, mut caller) =
            with(Behaviour::CutMidStream { after_events: 3 }, version).await;
        let response = caller.post(CHAT, "k", ASK_STREAM).await.unwrap();
        let (came, clean) = soon(what_came(response)).await;
        assert_eq!(
            (came.matches("data: ").count(), clean),
            (3, false),
            "{version:?}"
        );
        assert_eq!(provider.outcome(1).await, Outcome::Cut);
        assert_eq!(provider.usage_total().calls, 0);

        for behaviour in [
            Behaviour::TruncatedJson,
            Behaviour::CutMidStream { after_events: 1 },
        ] {
            let (_provider, mut caller) = with(behaviour.clone(), version).await;
            let response = caller.post(CHAT, "k", ASK).await.unwrap();
            let promised = response.headers().contains_key("content-length");
            assert_eq!(promised, behaviour == Behaviour::TruncatedJson);
            let (came, clean) = soon(what_came(response)).await;
            let half = came.starts_with("{\"id\"") && !came.contains("total_tokens");
            assert!(half && !clean, "{came}");
        }
    }
}

#[tokio::test]
async fn a_stream_can_end_wrongly_but_cleanly() {
    for version in VERSIONS {
        let (provider, mut caller) = with(Behaviour::Ok, version).await;
        caller.text(CHAT, "k", ASK).await;
        for (path, terminal, error) in [
            (CHAT, "[DONE]", "server_error"),
            (MESSAGES, "message_stop", "event: error"),
            (GEMINI, "finishReason", "INTERNAL"),
            ("/v1/responses", "response.completed", "event: error"),
        ] {
            provider.script(
                "k",
                [
                    Behaviour::Ok,
                    Behaviour::EndWithoutTerminal { after_events: 4 },
                    Behaviour::InStreamError { after_events: 2 },
                    Behaviour::OverloadedEvent,
                ],
            );
            assert!(caller.text(path, "k", ASK_STREAM).await.contains(terminal));
            let short = caller.text(path, "k", ASK_STREAM).await;
            assert_eq!(
                (short.matches("data: ").count(), short.contains(terminal)),
                (4, false)
            );
            let failed = caller.text(path, "k", ASK_STREAM).await;
            assert!(
                failed.matches("data: ").count() == 3 && failed.contains(error),
                "{failed}"
            );
            let overloaded = caller.text(path, "k", ASK_STREAM).await;
            assert!(overloaded.matches("data: ").count() == 1 && overloaded.contains("overloaded"));
        }
    }
}

#[tokio::test]
async fn gated_events_come_one_release_at_a_time() {
    for version in VERSIONS {
        let (provider, mut caller) = with(Behaviour::Gated, version).await;
        let gate = provider.gate("k");
        let mut body = caller
            .post(CHAT, "k", ASK_STREAM)
            .await
            .unwrap()
            .into_body();
        for _ in 0..3 {
            gate.release(1);
            let event = soon(body.frame())
                .await
                .unwrap()
                .unwrap()
                .into_data()
                .unwrap();
            assert_eq!(event.iter().filter(|byte| **byte == b'\n').count(), 2);
        }
        let early = tokio::time::timeout(Duration::from_millis(30), body.frame()).await;
        assert!(early.is_err(), "an event came without a release");
        gate.open();
        assert!(
            soon(body.collect())
                .await
                .unwrap()
                .to_bytes()
                .ends_with(b"[DONE]\n\n")
        );
    }
}

#[tokio::test]
async fn events_and_silences_keep_their_time() {
    let gap = Duration::from_millis(20);
    let (provider, mut caller) = with(
        Behaviour::Events {
            count: 5,
            gap: Some(gap),
        },
        Version::HTTP_11,
    )
    .await;
    let began = Instant::now();
    let streamed = caller.text(CHAT, "k", ASK_STREAM).await;
    // A role, five pieces, the finish, the usage and the end.
    assert_eq!(streamed.matches("data: ").count(), 9);
    assert!(began.elapsed() >= gap * 9);
    provider.script("k", [Behaviour::Slow { before_head: gap }]);
    let began = Instant::now();
    caller.text(CHAT, "k", ASK).await;
    assert!(began.elapsed() >= gap);
}

#[tokio::test]
async fn bytes_are_given_back_as_they_are() {
    for version in VERSIONS {
        let bytes = Bytes::from_static(b" {\"odd\" :1.0e2}\n\n");
        let (provider, mut caller) = with(Behaviour::Echo, version).await;
        assert_eq!(
            caller.text(CHAT, "k", " {\"x\" : 1 } ").await,
            " {\"x\" : 1 } "
        );
        for chunked in [true, false] {
            let content_type = "application/weird".to_owned();
            provider.script(
                "k",
                [Behaviour::Body {
                    content_type,
                    bytes: bytes.clone(),
                    chunked,
                }],
            );
            let response = caller.post(CHAT, "k", ASK).await.unwrap();
            assert_eq!(response.headers()["content-type"], "application/weird");
            assert_eq!(response.headers().contains_key("content-length"), !chunked);
            assert_eq!(
                response.into_body().collect().await.unwrap().to_bytes(),
                bytes
            );
        }
    }
}

#[tokio::test]
async fn trailers_big_headers_and_closing_connections() {
    for version in VERSIONS {
        let (provider, mut caller) = with(Behaviour::Trailers, version).await;
        let body = caller
            .post(CHAT, "k", ASK)
            .await
            .unwrap()
            .into_body()
            .collect()
            .await
            .unwrap();
        assert_eq!(
            body.trailers().unwrap()["x-fake-trailer"],
            "told-at-the-end"
        );

        provider.script("k", [Behaviour::BigHeaders, Behaviour::NoKeepAlive]);
        let response = caller.post(CHAT, "k", ASK).await.unwrap();
        let size: usize = response
            .headers()
            .values()
            .map(http::HeaderValue::len)
            .sum();
        assert!(size > 11_000 && response.status() == 200);
        text(response).await;

        let response = caller.post(CHAT, "k", ASK).await.unwrap();
        text(response).await;
        assert!(
            soon(caller.post(CHAT, "k", ASK)).await.is_err(),
            "{version:?} is still open"
        );
    }
}

#[tokio::test]
async fn an_informational_answer_comes_before_the_real_one() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let provider = FakeProvider::start(Protocol::Http1).await;
    provider.script("k", [Behaviour::Informational]);
    let mut socket = tokio::net::TcpStream::connect(provider.addr())
        .await
        .unwrap();
    let request = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: x\r\nx-api-key: k\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n{ASK}",
        ASK.len()
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    soon(socket.read_to_string(&mut answer)).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 103 Early Hints\r\n"),
        "{answer}"
    );
    assert!(answer.contains("\r\n\r\nHTTP/1.1 200 OK\r\n"), "{answer}");
}

#[tokio::test]
async fn an_early_answer_does_not_wait_for_the_body() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let provider = FakeProvider::start(Protocol::Http1).await;
    provider.script("k", [Behaviour::AnswerEarly { code: 413 }]);
    let mut socket = tokio::net::TcpStream::connect(provider.addr())
        .await
        .unwrap();
    let head = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: x\r\nx-api-key: k\r\ncontent-length: 9999999\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    socket.write_all(&[b' '; 2000]).await.unwrap();
    let mut first = [0; 12];
    soon(socket.read_exact(&mut first)).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 413");
    assert!((1024..=2000).contains(&provider.calls()[0].body_len));

    let (provider, mut caller) = with(Behaviour::AnswerEarly { code: 401 }, Version::HTTP_2).await;
    let response = soon(caller.post(CHAT, "k", vec![b' '; 4_000_000]))
        .await
        .unwrap();
    assert_eq!(response.status(), 401);
    assert!(provider.calls()[0].body_len < 4_000_000);
}

/// What the gateway must cope with: its write fails, and the answer is there.
#[tokio::test]
async fn an_early_answer_can_be_read_after_the_upload_failed() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    for _ in 0..20 {
        let provider = FakeProvider::start(Protocol::Http1).await;
        provider.script("k", [Behaviour::AnswerEarly { code: 413 }]);
        let mut socket = tokio::net::TcpStream::connect(provider.addr())
            .await
            .unwrap();
        let head = format!(
            "POST {CHAT} HTTP/1.1\r\nhost: x\r\nx-api-key: k\r\ncontent-length: 40000000\r\n\r\n"
        );
        socket.write_all(head.as_bytes()).await.unwrap();
        let upload = vec![b' '; 40_000_000];
        assert!(soon(socket.write_all(&upload)).await.is_err());
        let mut first = [0; 12];
        soon(socket.read_exact(&mut first)).await.unwrap();
        assert_eq!(&first, b"HTTP/1.1 413");
    }
}
