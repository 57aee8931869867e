//! Whatever comes in, the caller is told in its dialect what is wrong, no provider is called, and
//! the next request is served.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tokio::net::TcpStream;
use turnpike_api::Dialect;
use turnpike_loadtest::{FakeProvider, Options, Protocol};

use crate::harness::{Answer, Client, House, Http, KEY, chat, config};
use crate::refused::{assert_refused, counted, until_counted};
use crate::wire::Wire;

const CHAT: &str = "/v1/chat/completions";
const RESPONSES: &str = "/v1/responses";
const MESSAGES: &str = "/v1/messages";
const GEMINI: &str = "/v1beta/models/gemini-2.5-pro:generateContent";

/// A path of each dialect, and a model that is served there.
const CALLS: &[(Dialect, &str, &str)] = &[
    (Dialect::OpenAi, CHAT, "gpt-4o"),
    (Dialect::OpenAi, RESPONSES, "gpt-4o"),
    (Dialect::Anthropic, MESSAGES, "claude-sonnet-4-5"),
    (Dialect::Gemini, GEMINI, "gemini-2.5-pro"),
];

#[tokio::test]
async fn a_body_that_cannot_be_read_is_named() {
    let deep = |open: &str, inner: &str, close: &str| {
        format!(
            r#"{{"messages":{}{inner}{}}}"#,
            open.repeat(100_000),
            close.repeat(100_000)
        )
    };
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("no body", b"".into(), "not valid JSON at byte 0"),
        (
            "a body cut short",
            br#"{"model":"MODEL","messages":["#.into(),
            "not valid JSON at byte",
        ),
        (
            "a comma too many",
            br#"{"model":"MODEL",}"#.into(),
            "not valid JSON at byte",
        ),
        (
            "two documents",
            br#"{"model":"MODEL"}{"model":"MODEL"}"#.into(),
            "not valid JSON at byte",
        ),
        (
            "single quotes",
            b"{'model':'MODEL'}".into(),
            "not valid JSON at byte 1",
        ),
        (
            "a form",
            b"model=MODEL&messages=hello".into(),
            "not valid JSON at byte 0",
        ),
        (
            "an array",
            br#"[{"model":"MODEL"}]"#.into(),
            "not a JSON object",
        ),
        ("a string", br#""model""#.into(), "not a JSON object"),
        ("a number", b"7".into(), "not a JSON object"),
        ("null", b"null".into(), "not a JSON object"),
        (
            "a NUL byte outside a string",
            b"{\0\"model\":\"MODEL\"}".into(),
            "not valid JSON at byte 1",
        ),
        (
            "a NUL byte inside a string",
            b"{\"model\":\"MODEL\",\"user\":\"\0\"}".into(),
            "not valid JSON at byte",
        ),
        (
            "nothing but NUL bytes",
            vec![0; 512],
            "not valid JSON at byte 0",
        ),
        (
            "a byte-order mark",
            b"\xef\xbb\xbf{\"model\":\"MODEL\"}".into(),
            "not valid JSON at byte 0",
        ),
        (
            "invalid UTF-8",
            b"{\"model\":\"MODEL\",\"user\":\"\xff\"}".into(),
            "not valid UTF-8 at byte",
        ),
        (
            "overlong UTF-8",
            b"{\"model\":\"MODEL\",\"user\":\"\xc0\xaf\"}".into(),
            "not valid UTF-8 at byte",
        ),
        (
            "half a surrogate pair",
            br#"{"model":"MODEL","user":"\ud800"}"#.into(),
            "not valid JSON at byte",
        ),
        (
            "100,000 arrays deep",
            deep("[", "", "]").into(),
            "nested more than 127 levels deep",
        ),
        (
            "100,000 objects deep",
            deep("{\"a\":", "1", "}").into(),
            "nested more than 127 levels deep",
        ),
        (
            "100,000 deep and never closed",
            deep("[", "", "").into(),
            "nested more than 127 levels deep",
        ),
    ];
    let bench = Bench::new().await;
    for http in [Http::One, Http::Two] {
        let mut client = Client::connect(&bench.house, http).await;
        for (dialect, path, model) in CALLS {
            for (name, body, says) in &cases {
                let case = format!("{name}, {path}, {http:?}");
                let body = replace(body, b"MODEL", model.as_bytes());
                let answer = client.post(path, body).await;
                assert_refused(&answer, *dialect, "invalid_body", says, &case);
                bench.next_is_served(&mut client, &case).await;
            }
        }
    }
    until_counted(
        &bench.house,
        "invalid_body",
        (2 * CALLS.len() * cases.len()) as f64,
    )
    .await;
    bench.house.settled().await;
}

#[tokio::test]
async fn a_model_that_cannot_be_told_is_named() {
    let long = format!(r#"{{"model":"{}"}}"#, "m".repeat(100_000));
    let cases: &[(&str, &str, &str)] = &[
        ("no model", "{}", "'model' is missing"),
        (
            "a model further in only",
            r#"{"metadata":{"model":"gpt-4o"}}"#,
            "'model' is missing",
        ),
        ("a number", r#"{"model":7}"#, "'model' is not a string"),
        ("null", r#"{"model":null}"#, "'model' is not a string"),
        ("true", r#"{"model":true}"#, "'model' is not a string"),
        (
            "an object",
            r#"{"model":{"name":"gpt-4o"}}"#,
            "'model' is not a string",
        ),
        (
            "an array",
            r#"{"model":["gpt-4o"]}"#,
            "'model' is not a string",
        ),
        ("empty", r#"{"model":""}"#, "'model' is empty"),
        ("100 kB long", &long, "'model' is longer than 512 bytes"),
        (
            "twice",
            r#"{"model":"gpt-4o","model":"o3"}"#,
            "'model' is given twice",
        ),
        (
            "twice, far apart",
            r#"{"model":"gpt-4o","messages":[{"a":[1]}],"model":"gpt-4o"}"#,
            "'model' is given twice",
        ),
        (
            "twice, once escaped",
            r#"{"model":"gpt-4o","mod\u0065l":"o3"}"#,
            "'model' is given twice",
        ),
        (
            "twice but for case",
            r#"{"model":"gpt-4o","Model":"o3"}"#,
            "'model' is given twice",
        ),
        (
            "twice but for much case",
            r#"{"model":"gpt-4o","MODEL":"o3"}"#,
            "'model' is given twice",
        ),
        (
            "twice, the odd one first",
            r#"{"mODEL":"o3","model":"gpt-4o"}"#,
            "'model' is given twice",
        ),
    ];
    let bench = Bench::new().await;
    for http in [Http::One, Http::Two] {
        let mut client = Client::connect(&bench.house, http).await;
        for (dialect, path, _) in CALLS
            .iter()
            .filter(|(dialect, ..)| *dialect != Dialect::Gemini)
        {
            for (name, body, says) in cases {
                let case = format!("{name}, {path}, {http:?}");
                let answer = client.post(path, body.to_string()).await;
                assert_refused(&answer, *dialect, "invalid_model", says, &case);
                if *dialect == Dialect::OpenAi {
                    assert_eq!(answer.json()["error"]["param"], "model", "{case}");
                }
                bench.next_is_served(&mut client, &case).await;
            }
        }
        for (model, says) in [
            ("m".repeat(513), "longer than 512 bytes"),
            (String::new(), "names no model"),
        ] {
            let path = format!("/v1beta/models/{model}:generateContent");
            let answer = client.post(&path, "{}").await;
            assert_refused(&answer, Dialect::Gemini, "invalid_model", says, says);
        }
    }
}

#[tokio::test]
async fn a_stream_flag_that_parsers_disagree_on_is_refused() {
    let cases: &[(&str, &str)] = &[
        (r#""stream":1"#, "'stream' is not a boolean"),
        (r#""stream":"true""#, "'stream' is not a boolean"),
        (r#""stream":true,"stream":false"#, "'stream' is given twice"),
        (r#""stream":true,"Stream":false"#, "'stream' is given twice"),
        (r#""STREAM":true,"stream":false"#, "'stream' is given twice"),
    ];
    let bench = Bench::new().await;
    let mut client = Client::connect(&bench.house, Http::One).await;
    for (dialect, path, model) in CALLS {
        for (members, says) in cases {
            let answer = client
                .post(path, format!(r#"{{"model":"{model}",{members}}}"#))
                .await;
            assert_refused(
                &answer,
                *dialect,
                "invalid_body",
                says,
                &format!("{members}, {path}"),
            );
        }
    }
    bench.next_is_served(&mut client, "stream").await;
}

#[tokio::test]
async fn a_body_over_the_cap_is_refused_at_its_announcement() {
    let bench = Bench::with("limits: {max_body: 4KiB}").await;
    for (dialect, path, model) in CALLS {
        let mut wire = Wire::connect(&bench.house).await;
        let waiting = format!(
            "{}Content-Length: 4097\r\nExpect: 100-continue\r\n\r\n",
            head(path)
        );
        wire.send(waiting).await.unwrap();
        // The first answer is not a 100.
        let answer = wire.answer().await.unwrap();
        assert_refused(
            &answer,
            *dialect,
            "body_too_large",
            "larger than the 4096 bytes",
            path,
        );
        assert!(
            wire.answer().await.is_none(),
            "the connection is closed: {path}"
        );

        let full = format!(r#"{{"model":"{model}","x":"{}"}}"#, "x".repeat(4096));
        let mut wire = Wire::connect(&bench.house).await;
        let chunked = format!(
            "{}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{full}\r\n0\r\n\r\n",
            head(path),
            full.len()
        );
        wire.send(chunked).await.unwrap();
        let answer = wire.answer().await.unwrap();
        assert_refused(
            &answer,
            *dialect,
            "body_too_large",
            "larger than the 4096 bytes",
            path,
        );

        let mut client = Client::connect(&bench.house, Http::Two).await;
        let answer = client.post(path, full.clone()).await;
        assert_refused(
            &answer,
            *dialect,
            "body_too_large",
            "larger than the 4096 bytes",
            path,
        );
        bench.next_is_served(&mut client, path).await;

        let unannounced = Stream2::open(&bench.house, path)
            .await
            .send(full.into())
            .await;
        assert_refused(
            &unannounced,
            *dialect,
            "body_too_large",
            "larger than the 4096 bytes",
            path,
        );
    }
    bench.house.settled().await;
}

#[tokio::test]
async fn a_body_of_exactly_the_cap_is_served() {
    let bench = Bench::with("limits: {max_body: 4KiB}").await;
    let mut client = Client::connect(&bench.house, Http::One).await;
    let mut body = chat("gpt-4o");
    body.push_str(&" ".repeat(4096 - body.len()));
    assert_eq!(client.post(CHAT, body.clone()).await.status, 200);
    body.push(' ');
    assert_eq!(client.post(CHAT, body).await.status, 413);
}

#[tokio::test]
async fn a_caller_that_is_still_uploading_reads_the_refusal() {
    let bench = Bench::with("limits: {max_body: 4KiB}").await;
    for (dialect, path, _) in CALLS {
        let mut wire = Wire::connect(&bench.house).await;
        wire.send(format!("{}Content-Length: 8388608\r\n\r\n", head(path)))
            .await
            .unwrap();
        // Cut while it sends, it might never look for what it was told.
        wire.send(vec![b' '; 8 << 20])
            .await
            .expect("the upload is let finish");
        let answer = wire
            .answer()
            .await
            .expect("the refusal outlives the upload");
        assert_refused(
            &answer,
            *dialect,
            "body_too_large",
            "larger than the 4096 bytes",
            path,
        );
    }
}

#[tokio::test]
async fn a_body_is_asked_for_when_the_caller_waits_to_be() {
    let bench = Bench::new().await;
    let body = chat("gpt-4o");
    let mut wire = Wire::connect(&bench.house).await;
    let head = format!(
        "{}Content-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        head(CHAT),
        body.len()
    );
    wire.send(head).await.unwrap();
    assert_eq!(wire.answer().await.unwrap().status, 100);
    wire.send(body).await.unwrap();
    assert_eq!(wire.answer().await.unwrap().status, 200);
    assert_eq!(bench.provider.calls()[0].header("expect"), None);
}

#[tokio::test]
async fn a_body_beyond_the_budget_of_all_is_refused_for_a_moment() {
    let bench = Bench::with("limits: {max_body: 4KiB, max_buffered: 4KiB}").await;
    // Two bodies of 3 KiB: the first stays with the gateway until the provider answers.
    let body = |model: &str| format!(r#"{{"model":"{model}","x":"{}"}}"#, "x".repeat(3072));
    for (dialect, path, model) in CALLS {
        bench
            .provider
            .script("sk-openai-1", [turnpike_loadtest::Behaviour::Hang]);
        let before = bench.provider.count();
        let mut first = Client::connect(&bench.house, Http::One).await;
        let held = tokio::spawn(async move { first.post(CHAT, body("gpt-4o")).await });
        bench.provider.wait_for_calls(before + 1).await;

        let mut second = Client::connect(&bench.house, Http::One).await;
        let answer = second.post(path, body(model)).await;
        assert_refused(&answer, *dialect, "overloaded", "try again shortly", path);

        held.abort();
        bench.house.settled().await;
        assert_eq!(bench.house.metric("turnpike_request_body_bytes"), 0.0);
        assert_eq!(bench.provider.count(), before + 1, "{path}");
    }
}

#[tokio::test]
async fn a_compressed_body_is_refused_with_the_remedy() {
    let bench = Bench::new().await;
    for http in [Http::One, Http::Two] {
        for (dialect, path, model) in CALLS {
            for encoding in [
                "gzip",
                "br",
                "zstd",
                "deflate",
                "gzip, identity",
                "x-unknown",
            ] {
                let mut client = Client::connect(&bench.house, http).await;
                let mut request = client.request(path, chat(model));
                request
                    .headers_mut()
                    .insert("content-encoding", encoding.parse().unwrap());
                let answer = Answer::read(client.send(request).await.unwrap()).await;
                let case = format!("{encoding}, {path}, {http:?}");
                assert_refused(
                    &answer,
                    *dialect,
                    "invalid_body",
                    "without Content-Encoding",
                    &case,
                );
            }
        }
        let mut client = Client::connect(&bench.house, http).await;
        let mut request = client.request(CHAT, chat("gpt-4o"));
        request
            .headers_mut()
            .insert("content-encoding", "identity".parse().unwrap());
        assert_eq!(client.send(request).await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn a_content_type_is_the_providers_business_and_a_form_is_not_json() {
    let bench = Bench::new().await;
    let mut client = Client::connect(&bench.house, Http::One).await;
    for content_type in [
        "text/plain",
        "application/octet-stream",
        "application/json; charset=latin1",
    ] {
        let mut request = client.request(CHAT, chat("gpt-4o"));
        request
            .headers_mut()
            .insert("content-type", content_type.parse().unwrap());
        assert_eq!(
            Answer::read(client.send(request).await.unwrap())
                .await
                .status,
            200
        );
        let call = bench.provider.take_calls().pop().unwrap();
        assert_eq!(call.header("content-type"), Some(content_type));
        assert_eq!(call.body, chat("gpt-4o"));
    }
    for (dialect, path, _) in CALLS {
        let form =
            "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\ngpt-4o\r\n--b--\r\n";
        let mut request = client.request(path, form);
        request.headers_mut().insert(
            "content-type",
            "multipart/form-data; boundary=b".parse().unwrap(),
        );
        let answer = Answer::read(client.send(request).await.unwrap()).await;
        assert_refused(&answer, *dialect, "invalid_body", "the body is not", path);
    }
    assert_eq!(bench.provider.count(), 0);
}

#[tokio::test]
async fn a_post_without_any_body_is_refused() {
    let bench = Bench::new().await;
    for (dialect, path, _) in CALLS {
        let mut wire = Wire::connect(&bench.house).await;
        for _ in 0..2 {
            // Neither length nor chunks: the request ends with its head, and another may follow.
            wire.send(format!("{}\r\n", head(path))).await.unwrap();
            let answer = wire.answer().await.unwrap();
            assert_refused(
                &answer,
                *dialect,
                "invalid_body",
                "not valid JSON at byte 0",
                path,
            );
        }
    }
    assert_eq!(bench.provider.count(), 0);
}

#[tokio::test]
async fn a_body_that_ends_early_is_refused() {
    let bench = Bench::new().await;
    for (dialect, path, model) in CALLS {
        for framing in [
            "Content-Length: 500\r\n\r\n",
            "Transfer-Encoding: chunked\r\n\r\n1f4\r\n",
        ] {
            let mut wire = Wire::connect(&bench.house).await;
            wire.send(format!("{}{framing}{}", head(path), chat(model)))
                .await
                .unwrap();
            wire.end().await;
            let answer = wire
                .answer()
                .await
                .unwrap_or_else(|| panic!("{path} {framing:?}"));
            assert_refused(
                &answer,
                *dialect,
                "invalid_body",
                "ended before it was whole",
                path,
            );
            assert!(wire.answer().await.is_none());
        }
    }
    bench.house.settled().await;
    assert_eq!(bench.provider.count(), 0);
}

#[tokio::test]
async fn chunks_that_are_not_well_formed_are_refused() {
    let bench = Bench::new().await;
    for (dialect, path, _) in CALLS {
        for chunks in [
            "zz\r\n{}\r\n0\r\n\r\n",
            "2\r\n{}xx0\r\n\r\n",
            "-2\r\n{}\r\n0\r\n\r\n",
            "2\n{}\n0\n\n",
        ] {
            let mut wire = Wire::connect(&bench.house).await;
            wire.send(format!(
                "{}Transfer-Encoding: chunked\r\n\r\n{chunks}",
                head(path)
            ))
            .await
            .unwrap();
            let answer = wire.answer().await.unwrap();
            assert_refused(
                &answer,
                *dialect,
                "invalid_body",
                "chunked",
                &format!("{chunks:?}, {path}"),
            );
            assert!(wire.answer().await.is_none(), "{chunks:?}");
        }
    }
    assert_eq!(bench.provider.count(), 0);
}

#[tokio::test]
async fn a_body_that_drips_in_is_cut() {
    let bench = Bench::with("limits: {body_timeout: 200ms}").await;
    for (dialect, path, _) in CALLS {
        for kept_alive in [false, true] {
            let case = format!("{path}, kept alive: {kept_alive}");
            let mut wire = bench.wire(kept_alive).await;
            wire.send(format!("{}Content-Length: 100000\r\n\r\n", head(path)))
                .await
                .unwrap();
            let answer = wire
                .drip(std::iter::repeat_n(b' ', 99_999))
                .await
                .expect(&case);
            assert_refused(
                &answer,
                *dialect,
                "request_timeout",
                "body did not arrive in time",
                &case,
            );
            assert!(wire.answer().await.is_none(), "{case}");
        }
        let answer = Stream2::open(&bench.house, path).await.answer().await;
        assert_refused(
            &answer,
            *dialect,
            "request_timeout",
            "body did not arrive in time",
            path,
        );
    }
    until_counted(&bench.house, "request_timeout", 12.0).await;
    bench.house.settled().await;
}

/// Nobody asked for a body: what is left of one is not waited for.
#[tokio::test]
async fn a_body_that_nobody_reads_does_not_hold_the_connection() {
    let bench = Bench::new().await;
    for path in ["/", "/v1/models", "/health"] {
        let mut wire = bench.wire(false).await;
        let get = head(path).replace("POST", "GET");
        wire.send(format!("{get}Content-Length: 100000\r\n\r\nbegun"))
            .await
            .unwrap();
        assert_eq!(wire.answer().await.unwrap().status, 200, "{path}");
        assert!(wire.answer().await.is_none(), "{path}");
    }
    bench.house.settled().await;
}

#[tokio::test]
async fn a_head_that_drips_in_is_cut() {
    let bench = Bench::with("limits: {header_timeout: 200ms}").await;
    for kept_alive in [false, true] {
        for start in [String::new(), head(CHAT), head(MESSAGES)] {
            let case = format!("{start:?}, kept alive: {kept_alive}");
            let mut wire = bench.wire(kept_alive).await;
            let bytes = format!("{start}{}", "x".repeat(100_000));
            let (at_once, dripping) = bytes.split_at(start.len() + 1);
            wire.send(at_once).await.unwrap();
            let answer = wire.drip(dripping.bytes()).await.expect(&case);
            // Before the head is read there is no dialect yet.
            assert_refused(
                &answer,
                Dialect::OpenAi,
                "request_timeout",
                "head did not arrive in time",
                &case,
            );
            assert!(wire.answer().await.is_none(), "{case}");
        }
    }
    until_counted(&bench.house, "request_timeout", 6.0).await;
}

#[tokio::test]
async fn a_connection_may_be_idle_for_longer_than_a_head_may_take() {
    let bench = Bench::with("limits: {header_timeout: 50ms}").await;
    let mut wire = bench.wire(true).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let body = chat("gpt-4o");
    wire.send(format!(
        "{}Content-Length: {}\r\n\r\n{body}",
        head(CHAT),
        body.len()
    ))
    .await
    .unwrap();
    assert_eq!(wire.answer().await.unwrap().status, 200);
    assert_eq!(counted(&bench.house, "request_timeout"), 0.0);
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_one() {
    let bench = Bench::new().await;
    let cases: &[(&str, &str, Dialect, &str)] = &[
        ("GET", CHAT, Dialect::OpenAi, "POST"),
        ("PUT", RESPONSES, Dialect::OpenAi, "POST"),
        ("DELETE", MESSAGES, Dialect::Anthropic, "POST"),
        (
            "PATCH",
            "/v1/messages/count_tokens",
            Dialect::Anthropic,
            "POST",
        ),
        ("GET", GEMINI, Dialect::Gemini, "POST"),
        ("OPTIONS", "/v1/embeddings", Dialect::OpenAi, "POST"),
        ("BREW", CHAT, Dialect::OpenAi, "POST"),
        ("POST", "/v1/models", Dialect::OpenAi, "GET, HEAD"),
        ("DELETE", "/v1/models/gpt-4o", Dialect::OpenAi, "GET, HEAD"),
        ("POST", "/v1beta/models", Dialect::Gemini, "GET, HEAD"),
        ("POST", "/", Dialect::OpenAi, "GET, HEAD"),
        ("POST", "/health", Dialect::OpenAi, "GET, HEAD"),
        ("PUT", "/v1/files/file-1", Dialect::OpenAi, "GET, DELETE"),
        ("GET", "/v1/images/generations", Dialect::OpenAi, "POST"),
    ];
    for http in [Http::One, Http::Two] {
        let mut client = Client::connect(&bench.house, http).await;
        for (method, path, dialect, allow) in cases {
            let case = format!("{method} {path}, {http:?}");
            let answer = client_send(&mut client, method, path).await;
            assert_refused(&answer, *dialect, "method_not_allowed", path, &case);
            assert_eq!(answer.header("allow"), Some(*allow), "{case}");
            assert!(answer.text().contains(allow), "{case}");
        }
        bench.next_is_served(&mut client, "methods").await;
    }
}

#[tokio::test]
async fn an_unknown_path_is_told_the_base_url() {
    let bench = Bench::new().await;
    let cases: &[(&str, Dialect)] = &[
        ("/nowhere", Dialect::OpenAi),
        ("/v1", Dialect::OpenAi),
        ("/v1/chat", Dialect::OpenAi),
        ("/v1/v1/chat/completions", Dialect::OpenAi),
        ("/openai/v1/chat/completions", Dialect::OpenAi),
        ("/v1/messages/batches", Dialect::Anthropic),
        ("/v1beta/files", Dialect::Gemini),
        ("/v1beta/openai/chat/completions", Dialect::Gemini),
        ("/v0/management/auths", Dialect::OpenAi),
    ];
    for http in [Http::One, Http::Two] {
        let mut client = Client::connect(&bench.house, http).await;
        for (path, dialect) in cases {
            let answer = client_send(&mut client, "GET", path).await;
            let case = format!("{path}, {http:?}");
            assert_refused(&answer, *dialect, "unknown_path", path, &case);
            assert!(
                answer.text().contains("http://127.0.0.1:"),
                "{case}: {}",
                answer.text()
            );
        }
    }
    assert_eq!(bench.provider.count(), 0);
}

#[tokio::test]
async fn a_caller_that_takes_it_for_a_forward_proxy_is_told_what_to_set() {
    let bench = Bench::new().await;
    let cases = [
        "CONNECT api.openai.com:443 HTTP/1.1\r\nHost: api.openai.com:443\r\n\r\n",
        "CONNECT gateway:80 HTTP/1.1\r\nHost: gateway:80\r\nAuthorization: Bearer KEY\r\n\r\n",
        "GET http://api.openai.com/v1/models HTTP/1.1\r\nHost: api.openai.com\r\n\r\n",
        "GET http://gateway/health HTTP/1.1\r\nHost: gateway\r\n\r\n",
        "GET https://gateway/ HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer KEY\r\n\r\n",
    ];
    for case in cases {
        let mut wire = Wire::connect(&bench.house).await;
        wire.send(case.replace("KEY", KEY)).await.unwrap();
        let answer = wire.answer().await.expect(case);
        assert_refused(&answer, Dialect::OpenAi, "proxy_request", "base URL", case);
    }
    let stream = Stream2::request(
        &bench.house,
        Request::builder()
            .method("CONNECT")
            .uri("api.openai.com:443")
            .body(())
            .unwrap(),
    );
    assert_refused(
        &stream.await.answer().await,
        Dialect::OpenAi,
        "proxy_request",
        "base URL",
        "h2",
    );
    assert_eq!(bench.provider.count(), 0);
}

#[tokio::test]
async fn two_credentials_in_one_header_are_refused_in_each_dialect() {
    let bench = Bench::new().await;
    for http in [Http::One, Http::Two] {
        for (dialect, path, model) in CALLS {
            let mut client = Client::connect(&bench.house, http).await;
            let mut request = client.request(path, chat(model));
            request
                .headers_mut()
                .append("authorization", format!("Bearer {KEY}").parse().unwrap());
            let answer = Answer::read(client.send(request).await.unwrap()).await;
            assert_refused(
                &answer,
                *dialect,
                "credential_malformed",
                "given twice",
                path,
            );
        }
    }
    assert_eq!(bench.provider.count(), 0);
}

#[tokio::test]
async fn a_head_that_is_not_http_is_refused() {
    let bench = Bench::new().await;
    let many: String = (0..300).map(|n| format!("x-{n}: 1\r\n")).collect();
    let start = head(CHAT);
    let cases: Vec<(&str, String)> = vec![
        (
            "a blank before the colon",
            format!("{start}X-A : 1\r\n\r\n"),
        ),
        ("a blank in a name", format!("{start}X A: 1\r\n\r\n")),
        ("no colon", format!("{start}X-A\r\n\r\n")),
        ("no name", format!("{start}: 1\r\n\r\n")),
        ("a NUL byte in a value", format!("{start}X-A: a\0b\r\n\r\n")),
        ("a folded line", format!("{start}X-A: 1\r\n folded\r\n\r\n")),
        ("a bare CR in a value", format!("{start}X-A: a\rb\r\n\r\n")),
        ("300 headers", format!("{start}{many}\r\n")),
        ("two hosts", format!("{start}Host: other\r\n\r\n")),
        (
            "a length that is no number",
            format!("{start}Content-Length: 1x\r\n\r\n"),
        ),
        (
            "a negative length",
            format!("{start}Content-Length: -1\r\n\r\n"),
        ),
        (
            "two lengths",
            format!("{start}Content-Length: 1\r\nContent-Length: 2\r\n\r\n"),
        ),
        (
            "another version",
            "GET / HTTP/3.0\r\nHost: g\r\n\r\n".into(),
        ),
        ("no version", "GET /\r\nHost: g\r\n\r\n".into()),
        (
            "TLS on a clear port",
            "\u{16}\u{3}\u{1}\0\u{5}hello\r\n\r\n".into(),
        ),
        ("nothing known", "hello\r\n\r\n".into()),
    ];
    for (name, bytes) in cases {
        let mut wire = Wire::connect(&bench.house).await;
        wire.send(bytes).await.unwrap();
        let answer = wire
            .answer()
            .await
            .unwrap_or_else(|| panic!("{name}: closed in silence"));
        assert_refused(
            &answer,
            Dialect::OpenAi,
            "invalid_request",
            "not well-formed HTTP",
            name,
        );
        assert!(wire.answer().await.is_none(), "{name}: left open");
    }
    bench
        .next_is_served(&mut Client::connect(&bench.house, Http::One).await, "heads")
        .await;
}

/// Targets and headers that make some routers see another path than the one they authorize.
const CONFUSING: &[(&str, &str)] = &[
    ("/v1/models", ""),
    ("/v1/models/", ""),
    ("//v1/models", ""),
    ("/v1//models", ""),
    ("/models", ""),
    ("/v1/models?x=/health", ""),
    ("/v1/models#/health", ""),
    ("/v1/models?/health", ""),
    ("/v1/models;/health", ""),
    ("/health/../v1/models", ""),
    ("/health/..%2fv1/models", ""),
    ("/health/%2e%2e/v1/models", ""),
    ("/health/.%2e/v1/models", ""),
    ("/health/%252e%252e/v1/models", ""),
    ("/health%2f..%2fv1/models", ""),
    ("/health/v1/models", ""),
    ("/health/", "X-Original-URL: /v1/models"),
    ("/v1/models/../../health", ""),
    ("/v1/models/..%2f..%2fhealth", ""),
    ("/v1/models/%2e%2e/%2e%2e/health", ""),
    ("/v1/models/%c0%ae%c0%ae/health", ""),
    ("/v1/models/%e0%80%ae/health", ""),
    ("/v1/models%00/health", ""),
    ("/v1/models%20", ""),
    ("/v1/models%0d%0aX:%201", ""),
    ("/%76%31/models", ""),
    ("/v1%2fmodels", ""),
    ("/v1%5cmodels", ""),
    ("/v1\\models", ""),
    ("/V1/MODELS", ""),
    ("/./v1/models", ""),
    ("/.//health/../v1/models", ""),
    ("/v1/models/gpt-4o", ""),
    ("/v1beta/models", ""),
    ("/v1beta//models", ""),
    ("/v1beta/models/gemini-2.5-pro", ""),
    ("/metrics", ""),
    ("/ready", ""),
    ("//metrics", ""),
    ("/health/../metrics", ""),
    ("/healthz/..;/metrics", ""),
    ("/v0/management/auths", ""),
    ("*", ""),
    ("/v1/models", "Host: gateway/health"),
    ("/v1/models", "Host: gateway?/health"),
    ("/v1/models", "Host: gateway#/health"),
    ("/v1/models", "Host: admin@gateway"),
    ("/v1/models", "Host: 127.0.0.1:8317"),
    ("/v1/models", "Host: localhost"),
    ("/v1/models", "Host: "),
    ("/v1/models", "X-Forwarded-For: 127.0.0.1"),
    ("/v1/models", "X-Forwarded-Host: localhost"),
    ("/v1/models", "X-Forwarded-Uri: /health"),
    ("/v1/models", "X-Forwarded-Prefix: /health"),
    ("/v1/models", "X-Forwarded-Method: HEAD"),
    ("/v1/models", "X-HTTP-Method-Override: HEAD"),
    ("/v1/models", "X-Original-URL: /health"),
    ("/v1/models", "X-Rewrite-URL: /health"),
    ("/v1/models", "X-Original-Method: OPTIONS"),
    ("/v1/models", "Forwarded: for=127.0.0.1;host=localhost"),
    ("/v1/models", "User-Agent: kube-probe/1.31"),
    ("/v1/models", "User-Agent: GoogleHC/1.0"),
    ("/v1/models", "X_Api_Key: KEY"),
    ("/v1/models", "x_goog_api_key: KEY"),
    ("/v1/models", "Proxy-Authorization: Bearer KEY"),
    ("/v1/models", "Cookie: Authorization=Bearer KEY"),
    ("/v1/models?KEY=KEY", ""),
    ("/v1/models#?key=KEY", ""),
    ("/v1/models?x=1;key=KEY", ""),
    ("http://gateway/v1/models", ""),
    ("http://gateway/health", ""),
    ("http:/\\gateway/v1/models", ""),
    ("http:gateway/v1/models", ""),
    ("gateway/v1/models", ""),
    ("v1/models", ""),
    ("health/../v1/models", ""),
    ("é/v1/models", ""),
    ("/v1/modèles", ""),
    ("/v1/models HTTP/1.1\u{b}", ""),
    ("?key=KEY", ""),
    ("/.well-known/../v1/models", ""),
];

#[tokio::test]
async fn no_spelling_of_a_path_gets_by_without_a_credential() {
    let bench = Bench::new().await;
    for (target, header) in CONFUSING {
        for method in ["GET", "POST", "HEAD", "OPTIONS"] {
            let case = format!("{method} {target} {header}");
            let host = if header.starts_with("Host:") {
                ""
            } else {
                "Host: gateway\r\n"
            };
            let header = match header.is_empty() {
                true => String::new(),
                false => format!("{header}\r\n"),
            };
            let bytes =
                format!("{method} {target} HTTP/1.1\r\n{host}{header}Connection: close\r\n\r\n");
            let mut wire = Wire::connect(&bench.house).await;
            wire.send(bytes.replace("KEY", KEY)).await.unwrap();
            let answer = if method == "HEAD" {
                wire.head().await
            } else {
                wire.answer().await
            };
            let answer = answer.unwrap_or_else(|| panic!("{case}: closed in silence"));
            // The pages that everyone may see, however they are spelt.
            let is_public = matches!(*target, "/health/" | "?key=KEY");
            assert!(
                is_public || answer.status >= 400,
                "{case}: {} {}",
                answer.status,
                answer.text()
            );
            if is_public && answer.status < 300 && method != "HEAD" {
                assert!(
                    ["{\"status\":\"ok\"}", "Turnpike\n"].contains(&answer.text()),
                    "{case}"
                );
            }
            assert!(answer.status < 500, "{case}: {}", answer.status);
            // What is no HTTP has no method: the refusal of a `HEAD` has a body then.
            let is_over = method == "HEAD" || wire.rest().await.is_empty();
            assert!(is_over, "{case}: one more answer");
        }
    }
    assert_eq!(bench.provider.count(), 0, "nothing was forwarded");
}

#[tokio::test]
async fn the_root_and_health_are_for_everyone() {
    let bench = Bench::new().await;
    for (path, text) in [
        ("/", "Turnpike\n"),
        ("/health", r#"{"status":"ok"}"#),
        ("/healthz", r#"{"status":"ok"}"#),
    ] {
        let mut wire = Wire::connect(&bench.house).await;
        wire.send(format!("GET {path} HTTP/1.1\r\nHost: g\r\n\r\n"))
            .await
            .unwrap();
        let answer = wire.answer().await.unwrap();
        assert_eq!((answer.status, answer.text()), (200, text), "{path}");
        wire.send(format!("HEAD {path} HTTP/1.1\r\nHost: g\r\n\r\n"))
            .await
            .unwrap();
        assert_eq!(wire.head().await.unwrap().status, 200, "{path}");
    }
}

#[tokio::test]
async fn forgiven_spellings_reach_the_same_path() {
    let cases: &[(&str, &str, &[&str])] = &[
        (
            CHAT,
            "gpt-4o",
            &[
                "//v1/chat/completions",
                "/v1//chat/completions",
                "/v1/chat/completions/",
                "/chat/completions",
                "//chat//completions//",
            ],
        ),
        (RESPONSES, "gpt-4o", &["/responses", "/v1/responses//"]),
        (
            MESSAGES,
            "claude-sonnet-4-5",
            &["/messages", "//v1/messages/"],
        ),
        (
            GEMINI,
            "gemini-2.5-pro",
            &[
                "/v1beta//models/gemini-2.5-pro:generateContent",
                "/v1beta/models/gemini-2.5-pro:generateContent/",
                "/v1beta/models/gemini%2D2.5-pro:generateContent",
            ],
        ),
        (
            "/v1/models/gemini-2.5-pro:generateContent",
            "gemini-2.5-pro",
            &["/models/gemini-2.5-pro:generateContent"],
        ),
    ];
    let bench = Bench::new().await;
    for http in [Http::One, Http::Two] {
        let mut client = Client::connect(&bench.house, http).await;
        for (canonical, model, spellings) in cases {
            for spelling in spellings.iter().chain([canonical]) {
                let answer = client.post(spelling, chat(model)).await;
                assert_eq!(answer.status, 200, "{spelling}: {}", answer.text());
                let call = bench.provider.take_calls().pop().unwrap();
                assert_eq!(call.path_and_query, *canonical, "{spelling}, {http:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_model_in_a_path_cannot_lead_elsewhere() {
    let bench = Bench::new().await;
    for model in [
        "gemini-2.5-pro/../gemini-2.5-flash",
        "gemini-2.5-pro%2F..%2Fgemini-2.5-flash",
        "gemini-2.5-pro%252F..%252Fgemini-2.5-flash",
        "gemini-2.5-pro%2F..%2F..%2F..%2Fv1beta%2Ffiles",
        "gemini-2.5-pro%3Fkey=x%23",
        "..",
        "%2e%2e",
    ] {
        let path = format!("/v1beta/models/{model}:generateContent");
        let mut client = Client::connect(&bench.house, Http::One).await;
        let answer = client.post(&path, "{}").await;
        assert_refused(
            &answer,
            Dialect::Gemini,
            "unknown_path",
            "nothing is served at",
            model,
        );
    }
    assert_eq!(bench.provider.count(), 0);
}

/// A provider and a gateway before it.
struct Bench {
    provider: FakeProvider,
    house: House,
}

impl Bench {
    async fn new() -> Self {
        Self::with("threads: 0").await
    }

    /// With one more key of the section `server`.
    async fn with(server: &str) -> Self {
        let provider = FakeProvider::start(Options::new(Protocol::Http1)).await;
        let yaml = config(&provider.base_url(), 1).replace(
            "server: {port: 0}",
            &format!("server: {{port: 0, {server}}}"),
        );
        // By another name, or one listener would serve both.
        let yaml = yaml.replace("admin: {port: 0}", "admin: {host: localhost, port: 0}");
        assert!(yaml.contains(server));
        let house = House::serve(&yaml).await;
        Self { provider, house }
    }

    /// Asserts that the provider saw nothing yet, and that the connection serves a good request.
    async fn next_is_served(&self, client: &mut Client, case: &str) {
        assert_eq!(self.provider.count(), 0, "{case}: the provider was called");
        let answer = client.post(CHAT, chat("gpt-4o")).await;
        assert_eq!(answer.status, 200, "after {case}: {}", answer.text());
        assert_eq!(self.provider.take_calls().len(), 1, "after {case}");
    }

    /// A connection that is new, or one that has served a request.
    async fn wire(&self, kept_alive: bool) -> Wire {
        let mut wire = Wire::connect(&self.house).await;
        if kept_alive {
            wire.send("GET /health HTTP/1.1\r\nHost: g\r\n\r\n")
                .await
                .unwrap();
            assert_eq!(wire.answer().await.unwrap().status, 200);
        }
        wire
    }
}

/// An HTTP/2 request whose body is sent piece by piece, without a length.
struct Stream2 {
    answer: h2::client::ResponseFuture,
    body: h2::SendStream<Bytes>,
}

impl Stream2 {
    async fn open(house: &House, path: &str) -> Self {
        let request = Request::post(format!("http://gateway{path}"))
            .header("authorization", format!("Bearer {KEY}"))
            .body(())
            .unwrap();
        Self::request(house, request).await
    }

    async fn request(house: &House, request: Request<()>) -> Self {
        let tcp = TcpStream::connect(house.gateway.proxy).await.unwrap();
        let (client, connection) = h2::client::handshake(tcp).await.unwrap();
        tokio::spawn(connection);
        let mut client = client.ready().await.unwrap();
        let (answer, body) = client.send_request(request, false).unwrap();
        Self { answer, body }
    }

    async fn send(mut self, bytes: Bytes) -> Answer {
        self.body.send_data(bytes, true).unwrap();
        self.answer().await
    }

    async fn answer(self) -> Answer {
        let (parts, mut incoming) = self.answer.await.unwrap().into_parts();
        let mut body = Vec::new();
        while let Some(piece) = incoming.data().await {
            body.extend_from_slice(&piece.unwrap());
        }
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: body.into(),
        }
    }
}

/// A POST's head with the client's key, but for its framing and its end.
fn head(path: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {KEY}\r\n")
}

async fn client_send(client: &mut Client, method: &str, path: &str) -> Answer {
    let mut request = client.request(path, Bytes::new());
    *request.method_mut() = method.parse().unwrap();
    let request: Request<Full<Bytes>> = request;
    Answer::read(client.send(request).await.unwrap()).await
}

fn replace(bytes: &[u8], what: &[u8], with: &[u8]) -> Vec<u8> {
    let mut replaced = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(at) = rest.windows(what.len()).position(|window| window == what) {
        replaced.extend_from_slice(&rest[..at]);
        replaced.extend_from_slice(with);
        rest = &rest[at + what.len()..];
    }
    replaced.extend_from_slice(rest);
    replaced
}
