//! What can be seen from outside: health, metrics, ids, logs; and what cannot: secrets.

use bytes::Bytes;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use turnpike::context::Context;
use turnpike_loadtest::{Behaviour, FakeProvider, Options, Recorded};

use crate::binary::{Binary, replace};
use crate::calls::{CHAT, GEMINI, MESSAGES, SIDES, bearer, client, get_with, post_with, served};
use crate::harness::{Answer, Client, House, Http, KEY, PATIENCE, chat, config, until};

#[tokio::test]
async fn health_readiness_and_metrics_are_on_the_admin_listener() {
    let house = apart().await;
    let mut admin = admin(&house).await;
    for path in ["/health", "/healthz"] {
        let answer = get_with(&mut admin, path, &[]).await;
        assert_eq!((answer.status, answer.text()), (200, r#"{"status":"ok"}"#));
    }
    let ready = get_with(&mut admin, "/ready", &[]).await;
    assert_eq!(
        (ready.status, ready.text()),
        (200, r#"{"generation":1,"status":"ready"}"#)
    );
    assert_are_metrics(&get_with(&mut admin, "/metrics", &[]).await);
    assert_eq!(get_with(&mut admin, "/v1/models", &[]).await.status, 404);
}

#[tokio::test]
async fn the_proxy_port_answers_health_and_tells_where_the_rest_is() {
    let house = apart().await;
    for http in [Http::One, Http::Two] {
        let mut client = client(&house, http).await;
        for path in ["/health", "/healthz"] {
            let answer = get_with(&mut client, path, &[]).await;
            assert_eq!((answer.status, answer.text()), (200, r#"{"status":"ok"}"#));
        }
        for path in ["/metrics", "/ready"] {
            let answer = get_with(&mut client, path, &[]).await;
            assert_eq!(answer.status, 404, "{path}");
            let message = format!("{path} is served on the admin listener, not here");
            assert_eq!(answer.json()["error"]["message"], message);
        }
    }
    house.settled().await;
}

#[tokio::test]
async fn one_listener_serves_both_when_the_addresses_are_equal() {
    let provider = FakeProvider::start(Options::default()).await;
    let port = free_port().await;
    let yaml = config(&provider.base_url(), 1)
        .replace("{port: 0}", &format!("{{host: 127.0.0.1, port: {port}}}"));
    let house = House::serve(&yaml).await;
    assert_eq!(house.gateway.admin, house.gateway.proxy);
    for http in [Http::One, Http::Two] {
        let mut client = client(&house, http).await;
        assert_are_metrics(&get_with(&mut client, "/metrics", &[]).await);
        assert_eq!(get_with(&mut client, "/ready", &[]).await.status, 200);
        assert_eq!(get_with(&mut client, "/health", &[]).await.status, 200);
        assert_eq!(client.post(CHAT.path, chat("gpt-4o")).await.status, 200);
        assert_eq!(get_with(&mut client, "/v1/models", &[]).await.status, 401);
    }
    house.settled().await;
}

#[tokio::test]
async fn a_stopping_gateway_is_not_ready_and_still_tells_its_metrics() {
    let (_provider, house) = served(Options::default(), 1).await;
    let mut admin = admin(&house).await;
    house.gateway.runtime.drain.begin();
    let ready = get_with(&mut admin, "/ready", &[]).await;
    assert_eq!(
        (ready.status, &ready.json()["status"]),
        (503, &"draining".into())
    );
    assert_are_metrics(&get_with(&mut admin, "/metrics", &[]).await);
    assert_eq!(get_with(&mut admin, "/health", &[]).await.status, 200);
}

#[tokio::test]
async fn a_request_keeps_its_id_or_gets_one() {
    for sides in SIDES {
        let (provider, house) = served(Options::new(sides.provider), 1).await;
        let mut client = client(&house, sides.client).await;
        let sent = asked(&mut client, &[("x-request-id", "build-7.2:a_b")]).await;
        assert_eq!(sent.header("x-request-id"), Some("build-7.2:a_b"));
        assert_eq!(header(&provider, "x-request-id"), "build-7.2:a_b");

        let mut made = Vec::new();
        for headers in [
            &[][..],
            &[("x-request-id", "two words")],
            &[("x-request-id", "")],
        ] {
            let answer = asked(&mut client, headers).await;
            let id = answer.header("x-request-id").unwrap().to_owned();
            assert_eq!(header(&provider, "x-request-id"), id);
            assert_eq!(uuid::Uuid::parse_str(&id).unwrap().get_version_num(), 7);
            made.push(id);
        }
        made.dedup();
        assert_eq!(made.len(), 3);

        let refused = get_with(&mut client, "/v1/models", &[("x-request-id", "mine")]).await;
        assert_eq!(
            (refused.status, refused.header("x-request-id")),
            (401, Some("mine"))
        );
        let page = get_with(&mut client, "/health", &[("x-request-id", "mine")]).await;
        assert_eq!(page.header("x-request-id"), Some("mine"));
        house.settled().await;
    }
}

#[tokio::test]
async fn a_trace_is_continued_at_the_provider_or_begun() {
    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    for sides in SIDES {
        let (provider, house) = served(Options::new(sides.provider), 1).await;
        let mut client = client(&house, sides.client).await;
        let sent = format!("00-{TRACE}-00f067aa0ba902b7-01");
        asked(
            &mut client,
            &[("traceparent", &sent), ("tracestate", "vendor=1")],
        )
        .await;
        let call = provider.take_calls().pop().unwrap();
        let continued = call.header("traceparent").unwrap();
        assert!(continued.starts_with(&format!("00-{TRACE}-")) && continued.ends_with("-01"));
        assert_ne!(continued, sent, "the span is the gateway's");
        assert_eq!(call.header("tracestate"), None);
        for headers in [&[][..], &[("traceparent", "garbage")]] {
            asked(&mut client, headers).await;
            let begun = header(&provider, "traceparent");
            assert_eq!((begun.len(), &begun[..3], &begun[52..]), (55, "00-", "-00"));
            assert!(!begun.contains(TRACE));
        }
        house.settled().await;
    }
}

#[tokio::test]
async fn no_credential_of_the_caller_reaches_a_provider() {
    for sides in SIDES {
        let (provider, house) = served(Options::new(sides.provider), 1).await;
        let mut client = client(&house, sides.client).await;
        for (path, body, own) in [
            (
                CHAT.path,
                CHAT.body,
                ("authorization", "Bearer sk-openai-1"),
            ),
            (MESSAGES.path, MESSAGES.body, ("x-api-key", "sk-claude-1")),
            (
                GEMINI.path,
                GEMINI.body,
                ("x-goog-api-key", "AIza-gemini-1"),
            ),
        ] {
            let sign = if path.contains('?') { '&' } else { '?' };
            let path =
                format!("{path}{sign}key={KEY}&beta=true&auth_token=canary-token&%6bey={KEY}");
            let sent = [
                ("authorization", &*bearer()),
                ("x-api-key", "canary-x"),
                ("x-goog-api-key", "canary-goog"),
                ("api-key", "canary-azure"),
                ("cookie", "canary=1"),
                ("proxy-authorization", "Basic canary"),
                ("x-forwarded-for", "canary-address"),
                ("connection", "x-canary-hop"),
                ("x-canary-hop", "1"),
                ("anthropic-beta", "kept-1"),
                ("openai-beta", "kept-2"),
            ];
            // HTTP/2 has no `connection`.
            let sent: Vec<_> = sent
                .into_iter()
                .filter(|(name, _)| {
                    sides.client == Http::One || *name != "connection" && *name != "x-canary-hop"
                })
                .collect();
            let answer = post_with(&mut client, &path, &sent, body).await;
            assert_eq!(answer.status, 200, "{sides:?} {path}: {}", answer.text());
            let call = provider.take_calls().pop().unwrap();
            assert_has_only_its_own_credential(&call, own);
            assert!(
                call.path_and_query.ends_with("beta=true"),
                "{}",
                call.path_and_query
            );
            assert_eq!(call.header("anthropic-beta"), Some("kept-1"));
            assert_eq!(call.header("openai-beta"), Some("kept-2"));
        }
        house.settled().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_in_text_logs_metrics_or_errors() {
    let log = nothing_slips_out("text").await;
    assert!(
        log.contains("request refused") && log.contains("provider refused a call"),
        "{log}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_in_json_logs_and_each_line_is_an_object() {
    let log = nothing_slips_out("json").await;
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        let has = |field: &str| line[field].is_string();
        assert!(
            has("timestamp") && has("level") && has("target") && has("message"),
            "{line}"
        );
    }
}

/// Words that stand for secrets, and for what callers say.
const CANARIES: [&str; 9] = [
    CANARY_KEY,
    "canary-wrong-key",
    "sk-canary-openai",
    "sk-canary-claude",
    "AIza-canary-gemini",
    "canary-prompt",
    "canary-completion",
    "canary-cookie",
    "canary-header",
];

const CANARY_KEY: &str = "canary-client-key-0123456789";

/// Makes requests of all kinds of the real process, good ones and bad ones. None of the canaries
/// may be in its log, its metrics or what it tells callers. Returns the log.
async fn nothing_slips_out(format: &str) -> String {
    let provider = FakeProvider::start(Options::default()).await;
    let yaml = format!(
        "logging: {{format: {format}}}\n{}",
        canary_config(&provider.base_url())
    );
    let binary = Binary::start(&yaml, &["--log-level", "trace"]).await;
    let mut told = String::new();
    for http in [Http::One, Http::Two] {
        good_requests(&binary, http).await;
        told.push_str(&bad_requests(&binary, http).await);
        told.push_str(&failing_providers(&binary, &provider, http).await);
    }
    told.push_str(&unreadable_requests(&binary).await);
    replace(
        &binary.config,
        &yaml.replace("providers:", "unknown: sk-canary-openai\nproviders:"),
    );
    binary.signal("-HUP").await;
    until(|| binary.log().contains("configuration not taken over")).await;
    told.push_str(&binary.metrics().await);
    assert!(told.contains("turnpike_requests_total"));
    let kept = binary.kept();
    assert!(kept.contains("openai/1"), "the store knows the credential");
    let log = binary.stop().await;
    for canary in CANARIES {
        assert!(!kept.contains(canary), "{canary} was kept");
        assert!(!told.contains(canary), "{canary} was told: {told}");
        assert!(!log.contains(canary), "{canary} was logged: {log}");
    }
    log
}

fn canary_config(base_url: &str) -> String {
    config(base_url, 1)
        .replace(KEY, CANARY_KEY)
        .replace("sk-openai-1", "sk-canary-openai")
        .replace("sk-claude-1", "sk-canary-claude")
        .replace("AIza-gemini-1", "AIza-canary-gemini")
}

fn prompt(model: &str) -> String {
    format!(
        r#"{{"model":"{model}","max_tokens":9,"messages":[{{"role":"user","content":"canary-prompt"}}]}}"#
    )
}

type Headers<'h> = &'h [(&'h str, &'h str)];

/// The same credential in every place that callers use.
async fn good_requests(binary: &Binary, http: Http) {
    let mut client = binary.client(http).await;
    let bearer = format!("Bearer {CANARY_KEY}");
    let with_cookie = [("authorization", &*bearer), ("cookie", "a=canary-cookie")];
    let gemini = format!("/v1beta/models/gemini-2.5-pro:generateContent?key={CANARY_KEY}");
    let calls: [(&str, Headers<'_>, String); 4] = [
        (CHAT.path, &with_cookie, prompt("gpt-4o")),
        (
            MESSAGES.path,
            &[("x-api-key", CANARY_KEY)],
            prompt("claude-sonnet-4-5"),
        ),
        (
            &gemini,
            &[],
            r#"{"contents":[{"parts":[{"text":"canary-prompt"}]}]}"#.to_owned(),
        ),
        (&gemini.replace("key=", "auth_token="), &[], "{}".to_owned()),
    ];
    for (path, headers, body) in calls {
        assert_eq!(
            post_with(&mut client, path, headers, body).await.status,
            200,
            "{path}"
        );
    }
    let listed = get_with(&mut client, &format!("/v1/models?key={CANARY_KEY}"), &[]).await;
    assert_eq!(listed.status, 200);
}

/// Refused by the gateway; what it told.
async fn bad_requests(binary: &Binary, http: Http) -> String {
    let mut client = binary.client(http).await;
    let good = format!("Bearer {CANARY_KEY}");
    let good = [("authorization", &*good)];
    let cut = prompt("gpt-4o").replace("]}", "");
    let calls: [(u16, &str, Headers<'_>, String); 10] = [
        (
            401,
            CHAT.path,
            &[("authorization", "Bearer canary-wrong-key")],
            prompt("gpt-4o"),
        ),
        (
            401,
            CHAT.path,
            &[("authorization", "Basic canary-wrong-key")],
            prompt("gpt-4o"),
        ),
        (
            401,
            CHAT.path,
            &[("authorization", "Bearer canary-wrong-key twice")],
            prompt("gpt-4o"),
        ),
        (
            401,
            MESSAGES.path,
            &[("x-api-key", "canary-wrong-key")],
            prompt("claude-sonnet-4-5"),
        ),
        (
            401,
            "/v1beta/models/gemini-2.5-pro:generateContent?key=canary-wrong-key",
            &[],
            "{}".into(),
        ),
        (400, CHAT.path, &good, cut),
        (
            400,
            CHAT.path,
            &good,
            prompt("gpt-4o").replace("\"gpt-4o\"", "7"),
        ),
        (400, CHAT.path, &good, prompt("claude-sonnet-4-5")),
        (404, CHAT.path, &good, prompt("no-such-model")),
        (
            404,
            "/v1/nothing?key=canary-wrong-key",
            &[("x-api-key", CANARY_KEY)],
            prompt("x"),
        ),
    ];
    let mut told = String::new();
    for (status, path, headers, body) in calls {
        let answer = post_with(&mut client, path, headers, body).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        told.push_str(answer.text());
        // A refusal may end the connection.
        client = binary.client(http).await;
    }
    told
}

/// Providers that refuse, quote their credential, or break off; what the gateway told.
async fn failing_providers(binary: &Binary, provider: &FakeProvider, http: Http) -> String {
    let quoting = |code| Behaviour::Status {
        code,
        body: Some(Bytes::from_static(
            br#"{"error":{"message":"bad key sk-canary-openai","type":"x","code":"x"}}"#,
        )),
        headers: vec![("x-quoted".to_owned(), "1".to_owned())],
    };
    let half = Behaviour::Body {
        content_type: "text/event-stream".to_owned(),
        bytes: Bytes::from_static(
            b"data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\ndata: {",
        ),
        chunked: true,
    };
    let headers = [("x-api-key", CANARY_KEY), ("x-custom", "canary-header")];
    let stream = CHAT.body.replace("hello", "canary-prompt");
    let mut told = String::new();
    for behaviour in [
        quoting(401),
        quoting(400),
        quoting(500),
        half,
        Behaviour::CutBeforeHead,
    ] {
        provider.script("sk-canary-openai", [behaviour]);
        let mut client = binary.client(http).await;
        let answer = post_with(&mut client, CHAT.path, &headers, stream.clone()).await;
        told.push_str(answer.text());
    }
    // A rate limit cools the model that it is about: one that no other call here asks for.
    let model = match http {
        Http::One => "gpt-4.1",
        Http::Two => "gpt-5",
    };
    provider.script("sk-canary-openai", [quoting(429)]);
    let mut client = binary.client(http).await;
    let stream = stream.replace("gpt-4o", model);
    let answer = post_with(&mut client, CHAT.path, &headers, stream).await;
    assert_eq!(answer.json()["error"]["code"], "model_cooldown");
    told.push_str(answer.text());
    told
}

/// What no HTTP client would send; what the gateway told.
async fn unreadable_requests(binary: &Binary) -> String {
    let mut told = String::new();
    for request in [
        "GET /v1/models?key=canary-wrong-key HTTP/1.1\r\nx bad: canary-header\r\n\r\n",
        "POST http://api.openai.com/v1/x?key=canary-wrong-key HTTP/1.1\r\nhost: api.openai.com\r\nauthorization: Bearer canary-wrong-key\r\nconnection: close\r\n\r\n",
        "CONNECT api.openai.com:443 HTTP/1.1\r\nhost: api.openai.com:443\r\nproxy-authorization: Basic canary-wrong-key\r\n\r\n",
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-api-key: canary-client-key-0123456789\r\ntransfer-encoding: chunked\r\n\r\nzz\r\ncanary-prompt",
        "canary-prompt\r\n\r\n",
    ] {
        let mut tcp = TcpStream::connect(binary.proxy).await.unwrap();
        tcp.write_all(request.as_bytes()).await.unwrap();
        tcp.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let reading = tcp.read_to_end(&mut answer);
        // A connection that is reset has told nothing more.
        let _ = tokio::time::timeout(PATIENCE, reading)
            .await
            .expect("the connection ends");
        told.push_str(&String::from_utf8_lossy(&answer));
    }
    assert!(told.contains("not a forward proxy"), "{told}");
    told
}

async fn admin(house: &House) -> Client {
    Client::on(
        TcpStream::connect(house.gateway.admin).await.unwrap(),
        Http::One,
    )
    .await
}

/// A gateway whose two listeners are not one; its provider is never called.
async fn apart() -> House {
    let yaml = config("http://127.0.0.1:9", 1);
    House::serve(&yaml.replace("admin: {port: 0}", "admin: {host: localhost, port: 0}")).await
}

/// A port that was free a moment ago.
async fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    listener.local_addr().unwrap().port()
}

fn assert_are_metrics(answer: &Answer) {
    assert_eq!(answer.status, 200);
    assert!(
        answer
            .header("content-type")
            .unwrap()
            .starts_with("text/plain")
    );
    for name in [
        "turnpike_build_info{",
        "turnpike_requests_in_flight ",
        "turnpike_config_generation 1",
    ] {
        assert!(answer.text().contains(name), "{}", answer.text());
    }
}

/// A call with the client's key and these headers.
async fn asked(client: &mut Client, headers: &[(&str, &str)]) -> Answer {
    let bearer = bearer();
    let mut all = vec![("authorization", &*bearer)];
    all.extend(headers);
    let answer = post_with(client, CHAT.path, &all, chat("gpt-4o")).await;
    assert_eq!(answer.status, 200);
    answer
}

/// A header of the provider's last call.
fn header(provider: &FakeProvider, name: &str) -> String {
    provider
        .take_calls()
        .pop()
        .unwrap()
        .header(name)
        .unwrap()
        .to_owned()
}

fn assert_has_only_its_own_credential(call: &Recorded, own: (&str, &str)) {
    for name in [
        "authorization",
        "x-api-key",
        "x-goog-api-key",
        "api-key",
        "cookie",
    ] {
        let values: Vec<_> = call.headers.get_all(name).iter().collect();
        let expected = if name == own.0 {
            vec![own.1]
        } else {
            Vec::new()
        };
        assert_eq!(values, expected, "{name}");
    }
    for (name, value) in &call.headers {
        let text = format!("{name}: {}", value.to_str().unwrap());
        assert!(!text.contains("canary") && !text.contains(KEY), "{text}");
    }
    let target = &call.path_and_query;
    assert!(
        !target.contains("canary") && !target.contains(KEY),
        "{target}"
    );
}

/// A panic unwinds through the context, whose end is the record's.
#[tokio::test]
async fn a_request_that_panics_is_settled_all_the_same() {
    let (_provider, house) = served(Options::default(), 1).await;
    let runtime = house.gateway.runtime.clone();
    let serving = tokio::spawn(async move {
        let _context = Context::of_unreadable(&runtime);
        panic!("inside the gateway");
    });
    assert!(serving.await.unwrap_err().is_panic());
    house.settled().await;
    let aborted = r#"turnpike_requests_total{operation="none",reason="aborted",status="500"}"#;
    assert_eq!(house.metric(aborted), 1.0);
}
