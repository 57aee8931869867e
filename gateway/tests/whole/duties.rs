//! What stands between two connections owes both: each duty of the forwarding loop.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Barrier;
use turnpike_api::Dialect;
use turnpike_loadtest::{Behaviour, Protocol};

use crate::caller::{Caller, fed, origin, whole};
use crate::harness::{Answer, Client, House, Http, KEY, chat};
use crate::pair::{
    Pair, Wire, answering, everywhere, read_request, settings, soon, streamed_chat, stub,
};
use crate::refused::assert_refused;

const CHAT: &str = "/v1/chat/completions";
const MESSAGES: &str = "/v1/messages";
const FIVE_MIB: usize = 5 * 1024 * 1024;

#[tokio::test]
async fn a_callers_headers_for_one_hop_stay_on_it() {
    everywhere(1, "", async |pair| {
        let mut caller = pair.caller().await;
        let mut request = caller.request(CHAT, whole(chat("gpt-4o")));
        let headers = request.headers_mut();
        for (name, value) in [
            ("proxy-authorization", "Basic c2VjcmV0"),
            ("te", "trailers"),
            ("trailer", "x-checksum"),
            ("cookie", "session=1"),
            ("forwarded", "for=1.2.3.4"),
            ("x-forwarded-for", "1.2.3.4"),
            ("x-kept", "yes"),
        ] {
            headers.insert(name, value.parse().unwrap());
        }
        if pair.client == Http::One {
            let nominated = "keep-alive, x-nominated, Authorization, content-type-not, upgrade";
            headers.insert("connection", nominated.parse().unwrap());
            headers.insert("keep-alive", "timeout=5".parse().unwrap());
            headers.insert("x-nominated", "1".parse().unwrap());
            headers.insert("upgrade", "h2c".parse().unwrap());
        }
        let answer = Answer::read(caller.send(request).await.unwrap()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());

        let call = pair.provider.calls().remove(0);
        for stays in [
            "proxy-authorization",
            "te",
            "trailer",
            "cookie",
            "forwarded",
            "x-forwarded-for",
            "connection",
            "keep-alive",
            "x-nominated",
            "upgrade",
            "transfer-encoding",
        ] {
            assert_eq!(call.header(stays), None, "{stays}");
        }
        assert_eq!(call.header("x-kept"), Some("yes"));
        assert_eq!(call.header("authorization"), Some("Bearer sk-openai-1"));
        assert_eq!(call.headers.get_all("authorization").iter().count(), 1);
        let leaks = |value: &http::HeaderValue| value.to_str().unwrap().contains(KEY);
        assert!(!call.headers.values().any(leaks), "{:?}", call.headers);
        // The connection is in order after all that.
        assert_eq!(caller.post(CHAT, chat("gpt-4o")).await.status, 200);
    })
    .await;
}

#[tokio::test]
async fn no_caller_nominates_our_credential_away() {
    for upstream in [Protocol::Http1, Protocol::H2c] {
        let pair = Pair::new(Http::One, upstream, 1, "").await;
        let mut caller = pair.caller().await;
        let body = r#"{"model":"claude-sonnet-4-5","max_tokens":5,"messages":[]}"#;
        let mut request = caller.request(MESSAGES, whole(body));
        let nominated = "x-api-key, anthropic-version, host, content-length";
        request
            .headers_mut()
            .insert("connection", nominated.parse().unwrap());
        let answer = Answer::read(caller.send(request).await.unwrap()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let call = pair.provider.calls().remove(0);
        assert_eq!(call.header("x-api-key"), Some("sk-claude-1"));
        assert_eq!(call.body, body);
        pair.house.settled().await;
    }
}

#[tokio::test]
async fn a_providers_headers_for_one_hop_stay_on_it() {
    everywhere(1, "", async |pair| {
        let hop = [
            ("connection", "x-hop"),
            ("x-hop", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-authenticate", "Basic"),
            ("trailer", "x-checksum"),
            ("x-shown", "yes"),
        ];
        let behaviour = Behaviour::status_with(400, &hop);
        pair.provider.script("sk-openai-1", [behaviour]);
        let answer = pair.caller().await.post(CHAT, chat("gpt-4o")).await;
        assert_eq!(
            (answer.status, answer.header("x-shown")),
            (400, Some("yes"))
        );
        for stays in ["keep-alive", "proxy-authenticate", "trailer"] {
            assert_eq!(answer.header(stays), None, "{stays}");
        }
        // HTTP/2 has no `Connection` to nominate with.
        if pair.upstream == Protocol::Http1 {
            assert_eq!(answer.header("x-hop"), None);
        }
    })
    .await;
}

#[tokio::test]
async fn a_caller_that_expects_100_continue_gets_it_before_its_body() {
    for upstream in [Protocol::Http1, Protocol::H2c] {
        let pair = Pair::new(Http::One, upstream, 1, "").await;
        let mut wire = Wire::to(pair.house.gateway.proxy).await;
        let body = chat("gpt-4o");
        let length = body.len();
        wire.send(&head(&format!(
            "content-length: {length}\r\nexpect: 100-continue"
        )))
        .await;
        let interim = wire.read_to("\r\n\r\n").await;
        assert_eq!(interim, "HTTP/1.1 100 Continue\r\n\r\n");
        assert_eq!(pair.provider.count(), 0);
        wire.send(&body).await;
        let (head, _) = wire.answer().await;
        assert!(head.starts_with("http/1.1 200"), "{head}");
        assert_eq!(pair.provider.calls()[0].header("expect"), None);
        pair.house.settled().await;
    }
}

#[tokio::test]
async fn a_caller_of_http2_may_expect_100_continue_too() {
    for upstream in [Protocol::Http1, Protocol::H2c] {
        let pair = Pair::new(Http::Two, upstream, 1, "").await;
        let mut caller = pair.caller().await;
        let mut request = caller.request(CHAT, whole(chat("gpt-4o")));
        let expect = "100-continue".parse().unwrap();
        request.headers_mut().insert("expect", expect);
        let answer = Answer::read(soon(caller.send(request)).await.unwrap()).await;
        assert_eq!(answer.status, 200);
        pair.house.settled().await;
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_before_it_is_sent() {
    let house = House::serve(&settings(
        "http://127.0.0.1:1",
        1,
        "limits: {max_body: 1KiB}",
    ))
    .await;
    let mut wire = Wire::to(house.gateway.proxy).await;
    wire.send(&head("content-length: 2000\r\nexpect: 100-continue"))
        .await;
    let (head, body) = wire.answer().await;
    assert!(head.starts_with("http/1.1 413"), "{head}");
    assert!(body.contains("request_too_large"), "{body}");

    let mut caller = Caller::connect(&house, Http::Two).await;
    let (_never_fed, body) = fed();
    let mut request = caller.request(CHAT, body);
    request.headers_mut().insert("content-length", 2000.into());
    let answer = Answer::read(soon(caller.send(request)).await.unwrap()).await;
    assert_eq!(answer.status, 413);
    house.settled().await;
}

#[tokio::test]
async fn a_refused_upload_can_read_its_refusal() {
    let house = House::serve(&settings("http://127.0.0.1:1", 1, "")).await;
    let mut wire = Wire::to(house.gateway.proxy).await;
    let stranger = head(&format!("content-length: {FIVE_MIB}")).replace(KEY, "stranger");
    wire.send(&stranger).await;
    // More than the gateway reads before it refuses. What is unread when a socket is closed makes
    // the kernel reset the connection, and drop the refusal with it.
    let _ = wire.0.write_all(&vec![b'x'; FIVE_MIB]).await;
    let (head, body) = wire.answer().await;
    assert!(head.starts_with("http/1.1 401"), "{head}");
    assert!(body.contains("invalid_api_key"), "{body}");
    house.settled().await;
}

#[tokio::test]
async fn interim_answers_end_here() {
    let pair = Pair::new(Http::One, Protocol::Http1, 1, "").await;
    pair.provider
        .always("sk-openai-1", Behaviour::Informational);
    let mut wire = Wire::to(pair.house.gateway.proxy).await;
    for _ in 0..2 {
        wire.send(&post(&chat("gpt-4o"))).await;
        let (head, _) = wire.answer().await;
        assert!(head.starts_with("http/1.1 200"), "{head}");
        assert!(!head.contains("preload"), "{head}");
    }
    let mut caller = Caller::connect(&pair.house, Http::Two).await;
    assert_eq!(caller.post(CHAT, chat("gpt-4o")).await.status, 200);
    let calls = pair.provider.calls();
    assert!(calls.iter().all(|call| call.connection_id == 1));
    pair.house.settled().await;
}

#[tokio::test]
async fn interim_answers_of_http2_end_here() {
    let base_url = stub(async |tcp| {
        let mut connection = h2::server::handshake(tcp).await.unwrap();
        while let Some(Ok((_request, mut respond))) = connection.accept().await {
            let hints = http::Response::builder().status(103).body(()).unwrap();
            respond.send_informational(hints).unwrap();
            let answer = http::Response::builder().header("content-type", "application/json");
            let answer = answer.body(()).unwrap();
            let mut body = respond.send_response(answer, false).unwrap();
            body.send_data("{}".into(), true).unwrap();
        }
    })
    .await;
    let house = House::serve(&settings(&origin(&base_url, Protocol::H2c), 1, "")).await;
    for http in [Http::One, Http::Two] {
        let mut caller = Caller::connect(&house, http).await;
        for _ in 0..2 {
            let answer = caller.post(CHAT, chat("gpt-4o")).await;
            assert_eq!((answer.status, answer.text()), (200, "{}"));
        }
    }
    house.settled().await;
}

#[tokio::test]
async fn trailers_do_not_hurt() {
    everywhere(1, "", async |pair| {
        pair.provider.always("sk-openai-1", Behaviour::Trailers);
        let mut caller = pair.caller().await;
        for _ in 0..2 {
            let answer = caller.post(CHAT, chat("gpt-4o")).await;
            assert_eq!(answer.json()["object"], "chat.completion");
            let stream = caller.post(CHAT, streamed_chat("gpt-4o")).await;
            assert!(stream.text().ends_with("data: [DONE]\n\n"));
        }
    })
    .await;
}

#[tokio::test]
async fn trailers_of_http1_do_not_hurt() {
    // The gateway asks for none, but a provider may send them unasked.
    let base_url = answering(
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n\
          2\r\n{}\r\n0\r\nx-checksum: 1\r\n\r\n",
    )
    .await;
    let house = House::serve(&settings(&base_url, 1, "")).await;
    for http in [Http::One, Http::Two] {
        let mut caller = Caller::connect(&house, http).await;
        for _ in 0..2 {
            let answer = caller.post(CHAT, chat("gpt-4o")).await;
            assert_eq!((answer.status, answer.text()), (200, "{}"));
            assert_eq!(answer.header("x-checksum"), None);
        }
    }
    house.settled().await;
}

#[tokio::test]
async fn answers_without_a_body_have_none() {
    everywhere(1, "", async |pair| {
        let mut caller = pair.caller().await;
        for code in [204, 304] {
            let bare = Behaviour::Status {
                code,
                body: Some(Bytes::new()),
                headers: Vec::new(),
            };
            pair.provider.script("sk-openai-1", [bare]);
            let answer = caller.post(CHAT, chat("gpt-4o")).await;
            assert_eq!((answer.status, answer.text()), (code, ""));
            assert_eq!(answer.header("transfer-encoding"), None);
            // Had a body followed, it would stand where this answer does.
            assert_eq!(caller.post(CHAT, chat("gpt-4o")).await.status, 200);
        }
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_comes_before_the_upload_is_through_is_seen() {
    everywhere(1, "", async |pair| {
        let early = Behaviour::AnswerEarly { code: 413 };
        pair.provider
            .script("sk-openai-1", [early, Behaviour::Echo]);
        let mut caller = pair.caller().await;
        let answer = caller.post(CHAT, long_chat(FIVE_MIB)).await;
        assert_eq!(answer.status, 413, "{}", answer.text());
        assert!(answer.json()["error"].is_object());
        let after = caller.post(CHAT, long_chat(5000)).await;
        assert_eq!((after.status, after.body.len()), (200, 5000));
    })
    .await;
}

#[tokio::test]
async fn after_an_early_refusal_the_next_credential_gets_the_whole_body() {
    everywhere(2, "", async |pair| {
        let early = Behaviour::AnswerEarly { code: 401 };
        pair.provider.script("sk-openai-1", [early]);
        pair.provider.script("sk-openai-2", [Behaviour::Echo]);
        let body = long_chat(FIVE_MIB);
        let answer = pair.caller().await.post(CHAT, body.clone()).await;
        assert_eq!(answer.status, 200);
        assert!(answer.body == body, "the body came back changed");
        let sent = pair.provider.calls_with("sk-openai-2");
        assert_eq!((sent.len(), sent[0].body_len), (1, FIVE_MIB));
    })
    .await;
}

/// What is left of a request that was answered early must not be taken for the next one.
#[tokio::test]
async fn a_connection_with_half_a_request_on_it_is_not_used_again() {
    let base_url = stub(async |mut tcp| {
        let mut start = vec![0; 1024];
        tcp.read_exact(&mut start).await.unwrap();
        let length = start
            .windows(17)
            .find(|bytes| bytes.starts_with(b"content-length: "));
        assert!(length.is_some(), "{}", String::from_utf8_lossy(&start));
        if start.windows(2).any(|bytes| bytes == b"zz") {
            say(&mut tcp, "413 Payload Too Large", "early").await;
        } else {
            // Short enough to have been read whole.
            say(&mut tcp, "200 OK", "{}").await;
        }
        // The connection stays open, and no more of it is read.
        std::future::pending().await
    })
    .await;
    let timeouts = "timeouts: {first_byte: 5s}";
    let house = House::serve(&settings(&base_url, 1, timeouts)).await;
    let mut caller = Caller::connect(&house, Http::One).await;
    let early = caller.post(CHAT, long_chat(4 * FIVE_MIB)).await;
    assert_eq!((early.status, early.text()), (413, "early"));
    let padded = chat("gpt-4o").replace("hello", &"a".repeat(1024));
    let after = caller.post(CHAT, padded).await;
    assert_eq!((after.status, after.text()), (200, "{}"));
    house.settled().await;
}

#[tokio::test]
async fn a_connection_is_used_again_after_an_error() {
    everywhere(2, "", async |pair| {
        pair.provider
            .script("sk-openai-1", [Behaviour::status(429)]);
        let answer = pair.caller().await.post(CHAT, chat("gpt-4o")).await;
        assert_eq!(answer.status, 200);
        let calls = pair.provider.calls();
        assert_eq!(calls.len(), 2);
        assert_eq!(calls[0].connection_id, calls[1].connection_id);
    })
    .await;
}

#[tokio::test]
async fn a_callers_connection_outlives_refusals() {
    let pair = Pair::new(Http::One, Protocol::Http1, 1, "").await;
    let mut caller = pair.caller().await;
    assert_eq!(caller.post(CHAT, chat("unheard-of")).await.status, 404);
    assert_eq!(caller.post(CHAT, "not json").await.status, 400);
    pair.provider
        .script("sk-openai-1", [Behaviour::bad_request()]);
    assert_eq!(caller.post(CHAT, chat("gpt-4o")).await.status, 400);
    assert_eq!(caller.post(CHAT, chat("gpt-4o")).await.status, 200);
    pair.house.settled().await;
}

#[tokio::test]
async fn a_provider_that_ends_its_connections_is_called_on_new_ones() {
    everywhere(1, "", async |pair| {
        pair.provider.always("sk-openai-1", Behaviour::NoKeepAlive);
        let mut caller = pair.caller().await;
        for _ in 0..4 {
            assert_eq!(caller.post(CHAT, chat("gpt-4o")).await.status, 200);
        }
        let calls = pair.provider.calls();
        assert_eq!(calls.len(), 4);
        if pair.upstream == Protocol::Http1 {
            let connections: Vec<u64> = calls.iter().map(|call| call.connection_id).collect();
            assert_eq!(connections, [1, 2, 3, 4]);
        }
    })
    .await;
}

#[tokio::test]
async fn idle_connections_that_the_provider_closed_cost_no_call() {
    everywhere(1, "", async |pair| {
        let mut caller = pair.caller().await;
        for _ in 0..3 {
            assert_eq!(caller.post(CHAT, chat("gpt-4o")).await.status, 200);
            pair.provider.hang_up();
        }
    })
    .await;
}

/// An idle connection that turns out closed is followed by a new one, never by another idle one.
#[tokio::test]
async fn a_call_meets_one_closed_connection_at_most() {
    let all_connected = Arc::new(Barrier::new(3));
    let base_url = stub(move |mut tcp| {
        let all_connected = all_connected.clone();
        async move {
            // Each connection serves one call, and closes when it is sent another.
            let first = read_request(&mut tcp).await;
            if first.is_some_and(|call| call.contains("together")) {
                all_connected.wait().await;
            }
            tcp.write_all(ANSWER).await.unwrap();
            read_request(&mut tcp).await;
        }
    })
    .await;
    let house = House::serve(&settings(&base_url, 1, "")).await;
    let together = chat("gpt-4o").replace("hello", "together");
    let calls = (0..3).map(|_| async {
        let mut client = Client::connect(&house, Http::One).await;
        client.post(CHAT, together.clone()).await.status
    });
    assert_eq!(futures::future::join_all(calls).await, [200; 3]);
    let mut client = Client::connect(&house, Http::One).await;
    for _ in 0..3 {
        assert_eq!(client.post(CHAT, chat("gpt-4o")).await.status, 200);
    }
    let stale = r#"turnpike_upstream_attempts_total{credential="openai/1",outcome="stale",provider="openai"}"#;
    assert_eq!(house.metric(stale), 3.0);
}

/// A provider that has begun to answer has taken the call: another would be billed twice.
#[tokio::test]
async fn a_call_whose_answer_has_begun_is_not_repeated() {
    let beginnings = [
        "HTTP/1.1 103 Early Hints\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno header\r\n\r\n",
    ];
    for beginning in beginnings {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = calls.clone();
        let base_url = stub(move |mut tcp| {
            let calls = counted.clone();
            async move {
                for answer in [ANSWER, beginning.as_bytes()] {
                    if read_request(&mut tcp).await.is_some() {
                        calls.fetch_add(1, Ordering::Relaxed);
                        tcp.write_all(answer).await.unwrap();
                    }
                }
            }
        })
        .await;
        let house = House::serve(&settings(&base_url, 1, "")).await;
        let mut client = Client::connect(&house, Http::One).await;
        assert_eq!(client.post(CHAT, chat("gpt-4o")).await.status, 200);
        assert_eq!(client.post(CHAT, chat("gpt-4o")).await.status, 502);
        assert_eq!(calls.load(Ordering::Relaxed), 2, "{beginning}");
    }
}

const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";

#[tokio::test]
async fn large_heads_pass() {
    everywhere(1, "", async |pair| {
        pair.provider.script("sk-openai-1", [Behaviour::BigHeaders]);
        let answer = pair.caller().await.post(CHAT, chat("gpt-4o")).await;
        assert_eq!(answer.status, 200);
        let big = |name: &&http::HeaderName| name.as_str().starts_with("x-fake-big-");
        assert_eq!(answer.headers.keys().filter(big).count(), 36);
    })
    .await;
}

#[tokio::test]
async fn each_hop_speaks_its_own_version() {
    everywhere(1, "", async |pair| {
        let mut caller = pair.caller().await;
        let request = caller.request(CHAT, whole(streamed_chat("gpt-4o")));
        let response = caller.send(request).await.unwrap();
        let (version, chunked) = match pair.client {
            Http::One => (Version::HTTP_11, true),
            Http::Two => (Version::HTTP_2, false),
        };
        assert_eq!(response.version(), version);
        let answer = Answer::read(response).await;
        assert_eq!(answer.header("transfer-encoding").is_some(), chunked);
        assert_eq!(answer.header("connection").is_some(), chunked);
        assert!(answer.text().ends_with("data: [DONE]\n\n"));
    })
    .await;
}

#[tokio::test]
async fn a_caller_of_http_1_0_is_understood() {
    for upstream in [Protocol::Http1, Protocol::H2c] {
        let pair = Pair::new(Http::One, upstream, 1, "").await;
        for (body, end) in [
            (chat("gpt-4o"), "}"),
            (streamed_chat("gpt-4o"), "data: [DONE]\n\n"),
        ] {
            let mut wire = Wire::to(pair.house.gateway.proxy).await;
            wire.send(&post(&body).replace("HTTP/1.1", "HTTP/1.0"))
                .await;
            let answer = wire.rest().await;
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            let head = head.to_lowercase();
            assert!(
                head.starts_with("http/1.") && head.contains(" 200"),
                "{head}"
            );
            assert!(!head.contains("transfer-encoding"), "{head}");
            assert!(
                body.trim_end_matches('\n').ends_with(end.trim_end()),
                "{body}"
            );
            assert!(
                body.starts_with('{') || body.starts_with("data: "),
                "{body}"
            );
        }
        pair.house.settled().await;
    }
}

#[tokio::test]
async fn a_head_has_no_body() {
    let house = House::serve(&settings("http://127.0.0.1:1", 1, "")).await;
    for http in [Http::One, Http::Two] {
        let mut caller = Caller::connect(&house, http).await;
        for _ in 0..2 {
            let mut request = caller.request("/", whole(""));
            *request.method_mut() = Method::HEAD;
            let answer = Answer::read(caller.send(request).await.unwrap()).await;
            assert_eq!((answer.status, answer.text()), (200, ""));
            assert_eq!(answer.header("content-length"), Some("9"));
        }
    }
    house.settled().await;
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    for upstream in [Protocol::Http1, Protocol::H2c] {
        let pair = Pair::new(Http::One, upstream, 1, "").await;
        pair.provider.script(
            "sk-openai-1",
            [Behaviour::Gated, Behaviour::Echo, Behaviour::Echo],
        );
        let mut wire = Wire::to(pair.house.gateway.proxy).await;
        let second = chat("gpt-4o").replace("hello", "second");
        let third = chat("gpt-4o").replace("hello", "third");
        let all = [streamed_chat("gpt-4o"), second.clone(), third.clone()];
        wire.send(&all.map(|body| post(&body)).concat()).await;
        soon(pair.provider.wait_for_calls(1)).await;
        pair.provider.gate("sk-openai-1").open();
        let first = wire.read_to("0\r\n\r\n").await;
        assert!(first.contains("[DONE]"), "{first}");
        assert_eq!(wire.answer().await.1, second);
        assert_eq!(wire.answer().await.1, third);
        pair.house.settled().await;
    }
}

/// OpenAI's Python library says `application/json` of every request, of those without a body too.
#[tokio::test]
async fn a_get_with_a_content_type_and_no_body_passes() {
    everywhere(1, "", async |pair| {
        let mut caller = pair.caller().await;
        let mut request = caller.request("/v1/files/file-1", whole(""));
        *request.method_mut() = Method::GET;
        let answer = Answer::read(caller.send(request).await.unwrap()).await;
        assert_ne!(answer.status, 400, "{}", answer.text());
    })
    .await;
}

#[tokio::test]
async fn a_refusal_of_our_credential_is_not_shown() {
    everywhere(1, "", async |pair| {
        for code in [401, 402, 403] {
            pair.provider
                .script("sk-openai-1", [Behaviour::status(code)]);
            let answer = pair.caller().await.post(CHAT, chat("gpt-4o")).await;
            let says = "refused by the provider; this is not your key's fault";
            let case = code.to_string();
            assert_refused(&answer, Dialect::OpenAi, "no_credential", says, &case);
            assert!(!answer.text().contains("sk-openai"), "{}", answer.text());
        }
    })
    .await;
}

#[tokio::test]
async fn our_credential_is_blotted_out_of_what_is_shown() {
    everywhere(1, "", async |pair| {
        let quoting = Behaviour::Status {
            code: 400,
            body: Some(r#"{"error":{"message":"odd key sk-openai-1, sk-openai-1"}}"#.into()),
            headers: Vec::new(),
        };
        pair.provider.script("sk-openai-1", [quoting]);
        let answer = pair.caller().await.post(CHAT, chat("gpt-4o")).await;
        assert_eq!(answer.status, 400);
        assert_eq!(answer.json()["error"]["message"], "odd key ***, ***");
    })
    .await;
}

/// A refusal longer than what is held of it to judge it, its length announced.
#[tokio::test]
async fn our_credential_is_blotted_out_of_long_refusals_too() {
    everywhere(1, "", async |pair| {
        let filler = "x".repeat(100 * 1024);
        let quoting = Behaviour::Status {
            code: 400,
            body: Some(format!(r#"{{"error":"sk-openai-1{filler}sk-openai-1"}}"#).into()),
            headers: Vec::new(),
        };
        pair.provider.script("sk-openai-1", [quoting]);
        let answer = pair.caller().await.post(CHAT, chat("gpt-4o")).await;
        assert_eq!(answer.status, 400);
        assert!(!answer.text().contains("sk-openai-1"), "shown");
    })
    .await;
}

#[tokio::test]
async fn the_account_behind_the_pool_is_not_shown() {
    everywhere(1, "", async |pair| {
        let mut caller = pair.caller().await;
        let claude = r#"{"model":"claude-sonnet-4-5","max_tokens":5,"messages":[]}"#;
        for (path, body) in [(CHAT, chat("gpt-4o")), (MESSAGES, claude.to_owned())] {
            let mut request = caller.request(path, whole(body));
            let id = "mine-7".parse().unwrap();
            request.headers_mut().insert("x-request-id", id);
            let answer = Answer::read(caller.send(request).await.unwrap()).await;
            assert_eq!(answer.status, 200);
            assert_eq!(answer.header("x-request-id"), Some("mine-7"));
            assert_eq!(answer.headers.get_all("x-request-id").iter().count(), 1);
            for name in answer.headers.keys() {
                let name = name.as_str();
                let of_the_account = name.contains("ratelimit")
                    || name.contains("organization")
                    || ["openai-project", "set-cookie", "cf-ray", "alt-svc"].contains(&name);
                assert!(!of_the_account, "{name}");
            }
        }
        let calls = pair.provider.calls();
        assert!(
            calls
                .iter()
                .all(|call| call.header("x-request-id") == Some("mine-7"))
        );
    })
    .await;
}

#[tokio::test]
async fn no_agent_is_told_to_wait_longer_than_a_minute() {
    // Three are tried, and a fourth is ready: these are the provider's words, not our own.
    everywhere(4, "", async |pair| {
        for (model, said, shown) in [("gpt-4o", 3600, "60"), ("gpt-4o-mini", 7, "7")] {
            for n in 1..=3 {
                let limited = Behaviour::rate_limited(Duration::from_secs(said));
                pair.provider.script(&format!("sk-openai-{n}"), [limited]);
            }
            let answer = pair.caller().await.post(CHAT, chat(model)).await;
            assert_eq!(
                (answer.status, answer.header("retry-after")),
                (429, Some(shown))
            );
            assert_ne!(answer.json()["error"]["code"], "model_cooldown");
        }
    })
    .await;
}

/// A request's head with the client's key, down to the empty line.
fn head(more: &str) -> String {
    format!(
        "POST {CHAT} HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {KEY}\r\n\
         content-type: application/json\r\n{more}\r\n\r\n"
    )
}

fn post(body: &str) -> String {
    head(&format!("content-length: {}", body.len())) + body
}

async fn say(tcp: &mut TcpStream, status: &str, body: &str) {
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    tcp.write_all(answer.as_bytes()).await.unwrap();
}

/// A chat of exactly `size` bytes.
fn long_chat(size: usize) -> Bytes {
    let empty = chat("gpt-4o").replace("hello", "").len();
    chat("gpt-4o")
        .replace("hello", &"z".repeat(size - empty))
        .into()
}

/// A provider may say that it is still working while the body is on its way to it.
#[tokio::test]
async fn an_interim_answer_during_an_upload_does_not_end_it() {
    const SIZE: usize = 5 << 20;
    let base_url = stub(|mut tcp| async move {
        let (came, length) = read_request_head(&mut tcp).await;
        tcp.write_all(b"HTTP/1.1 102 Processing\r\n\r\n")
            .await
            .unwrap();
        let mut body = vec![0; length];
        tcp.read_exact(&mut body[came..]).await.unwrap();
        let answer = format!("{}", body.len());
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n",
            answer.len()
        );
        tcp.write_all((head + &answer).as_bytes()).await.unwrap();
    })
    .await;
    let house = House::serve(&settings(&base_url, 1, "")).await;
    let mut client = Client::connect(&house, Http::One).await;
    let body = chat("gpt-4o").replace("hello", &"y".repeat(SIZE));
    let answer = client.post("/v1/chat/completions", body.clone()).await;
    assert_eq!(
        (answer.status, answer.text()),
        (200, body.len().to_string().as_str())
    );
}

/// How much of the body came with the head, and how long the body is.
async fn read_request_head(tcp: &mut TcpStream) -> (usize, usize) {
    let mut bytes = Vec::new();
    loop {
        tcp.read_buf(&mut bytes).await.unwrap();
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            return (bytes.len() - end - 4, length.unwrap().parse().unwrap());
        }
    }
}
