//! Traces: what a collector gets of calls, which calls it gets, and that no call waits for it.

mod delivery;

use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use turnpike::clock::Time;
use turnpike_loadtest::{Behaviour, FakeProvider, Options, Recorded};

use crate::binary::{Binary, replace};
use crate::calls::{
    CHAT, Caller, Events, SIDES, STREAMS, bearer, client, get_with, post_with, upstream,
};
use crate::collector::{Collector, Told};
use crate::harness::{Answer, Client, House, Http, KEY, chat, config, until};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// A gateway that tells this collector.
async fn told(provider: &FakeProvider, collector: &Collector, ratio: &str, keys: usize) -> House {
    let yaml = config(&upstream(provider), keys);
    House::serve(&format!("{yaml}{}", collector.section(ratio))).await
}

/// All spans there are once the gateway has ended.
async fn spans_at_the_end(house: &House, collector: &Collector) -> Vec<Span> {
    house.settled().await;
    house.gateway.stop().await;
    collector.spans()
}

/// A chat with the client's key and these headers.
async fn asked(client: &mut Client, headers: &[(&str, &str)]) -> Answer {
    let bearer = bearer();
    let mut all = vec![("authorization", &*bearer)];
    all.extend(headers);
    post_with(client, CHAT.path, &all, chat("gpt-4o")).await
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn one(spans: &[Span], kind: SpanKind) -> &Span {
    let mut of_kind = spans.iter().filter(|span| span.is(kind));
    let found = of_kind.next().unwrap();
    assert!(of_kind.next().is_none(), "{spans:#?}");
    found
}

#[tokio::test]
async fn a_call_is_a_span_and_its_attempt_one_within_it() {
    for sides in SIDES {
        let provider = FakeProvider::start(Options::new(sides.provider)).await;
        let collector = Collector::start().await;
        let house = told(&provider, &collector, "0", 1).await;
        let mut client = client(&house, sides.client).await;
        let sent = format!("00-{TRACE}-{PARENT}-01");
        let headers = [
            ("traceparent", &*sent),
            ("tracestate", "vendor=1"),
            ("baggage", "user=somebody"),
            ("x-request-id", "build-7"),
        ];
        let answer = asked(&mut client, &headers).await;
        assert_eq!(answer.status, 200);
        let call = provider.take_calls().pop().unwrap();
        let spans = spans_at_the_end(&house, &collector).await;
        let (server, attempt) = (one(&spans, SpanKind::Server), one(&spans, SpanKind::Client));

        assert_eq!(spans.len(), 2);
        for span in &spans {
            assert_eq!(hex(&span.trace_id), TRACE);
            assert_eq!(span.trace_state, "vendor=1");
            assert!(span.start_time_unix_nano <= span.end_time_unix_nano);
            assert!(!span.has_failed());
        }
        assert_eq!(hex(&server.parent_span_id), PARENT);
        assert_eq!(attempt.parent_span_id, server.span_id);
        assert!(server.start_time_unix_nano <= attempt.start_time_unix_nano);
        assert!(attempt.end_time_unix_nano <= server.end_time_unix_nano);
        // What the provider may tell of it, it tells within the attempt.
        let outgoing = format!("00-{TRACE}-{}-01", hex(&attempt.span_id));
        assert_eq!(call.header("traceparent"), Some(&*outgoing));
        assert_eq!(
            (call.header("tracestate"), call.header("baggage")),
            (None, None)
        );

        let version = match sides.client {
            Http::One => "1.1",
            Http::Two => "2",
        };
        assert_eq!(server.name, "POST /v1/chat/completions");
        for (name, value) in [
            ("http.request.method", "POST"),
            ("http.route", "/v1/chat/completions"),
            ("network.protocol.version", version),
            ("gen_ai.operation.name", "chat"),
            ("gen_ai.provider.name", "openai"),
            ("gen_ai.request.model", "gpt-4o"),
            ("gen_ai.response.model", "gpt-4o"),
            ("turnpike.request.id", "build-7"),
            (
                "turnpike.decision.id",
                answer.header("x-turnpike-decision").unwrap(),
            ),
        ] {
            assert_eq!(server.text(name), Some(value), "{name}");
        }
        assert_eq!(server.number("http.response.status_code"), Some(200));
        assert_eq!(attempt.name, "chat gpt-4o");
        for (name, value) in [
            ("gen_ai.operation.name", "chat"),
            ("gen_ai.provider.name", "openai"),
            ("gen_ai.request.model", "gpt-4o"),
            ("gen_ai.response.model", "gpt-4o"),
            ("server.address", "127.0.0.1"),
            ("turnpike.credential.id", "openai/1"),
        ] {
            assert_eq!(attempt.text(name), Some(value), "{name}");
        }
        let usage = provider.usage_total();
        for (name, value) in [
            ("http.response.status_code", 200),
            ("server.port", provider.addr().port().into()),
            ("turnpike.attempt", 1),
            ("gen_ai.usage.input_tokens", usage.input_tokens as i64),
            ("gen_ai.usage.output_tokens", usage.output_tokens as i64),
        ] {
            assert_eq!(attempt.number(name), Some(value), "{name}");
        }
        assert_eq!(
            server.number("gen_ai.usage.input_tokens"),
            None,
            "told once"
        );
        assert_eq!(
            house.metric(r#"turnpike_trace_spans_total{result="sent"}"#),
            2.0
        );
    }
}

#[tokio::test]
async fn each_attempt_that_failed_is_a_span_that_says_why() {
    let provider = FakeProvider::start(Options::default()).await;
    let collector = Collector::start().await;
    let mut yaml = config(&provider.base_url(), 4) + "max_retry_credentials: 4\n";
    for nth in 1..=4 {
        let label = format!("label: \"{nth}\"");
        yaml = yaml.replace(&label, &format!("{label}, priority: {nth}"));
    }
    let house = House::serve(&format!("{yaml}{}", collector.section("1"))).await;
    provider.script("sk-openai-1", [Behaviour::status(500)]);
    // Once on a connection that was kept, which is nobody's fault, and once on a new one.
    let cut = [Behaviour::CutBeforeHead, Behaviour::CutBeforeHead];
    provider.script("sk-openai-2", cut);
    provider.script("sk-openai-3", [Behaviour::status(401)]);
    let mut client = client(&house, Http::One).await;
    assert_eq!(asked(&mut client, &[]).await.status, 200);
    let calls = provider.take_calls();
    let spans = spans_at_the_end(&house, &collector).await;

    let server = one(&spans, SpanKind::Server);
    assert!(server.parent_span_id.is_empty() && !server.has_failed());
    let attempts: Vec<_> = spans
        .iter()
        .filter(|one| one.is(SpanKind::Client))
        .collect();
    let ends: Vec<_> = attempts
        .iter()
        .map(|one| {
            let status = one.number("http.response.status_code");
            (one.text("error.type"), status, one.has_failed())
        })
        .collect();
    assert_eq!(
        ends,
        [
            (Some("server_error"), Some(500), true),
            (Some("cut"), None, true),
            (Some("unauthorized"), Some(401), true),
            (None, Some(200), false),
        ]
    );
    for (nth, attempt) in attempts.iter().enumerate() {
        assert_eq!(attempt.parent_span_id, server.span_id);
        assert_eq!(attempt.number("turnpike.attempt"), Some(nth as i64 + 1));
        let is_told = |call: &Recorded| {
            let told = call.header("traceparent").unwrap();
            told.contains(&hex(&attempt.span_id))
        };
        assert_eq!(
            calls.iter().filter(|one| is_told(one)).count(),
            1 + usize::from(nth == 1)
        );
        let has_usage = attempt.number("gen_ai.usage.input_tokens").is_some();
        assert_eq!(has_usage, nth == 3, "only what served used anything");
        let has_said = attempt.text("gen_ai.response.model").is_some();
        assert_eq!(has_said, nth == 3, "and says what it is of");
        if let Some(next) = attempts.get(nth + 1) {
            assert!(attempt.end_time_unix_nano <= next.start_time_unix_nano);
        }
    }
}

#[tokio::test]
async fn the_model_is_the_one_that_the_provider_says() {
    let provider = FakeProvider::start(Options::default()).await;
    let collector = Collector::start().await;
    let house = told(&provider, &collector, "1", 1).await;
    let body = r#"{"id":"c","model":"gpt-4o-2024-08-06","choices":[{"message":{"content":"\"model\":\"x\""}}]}"#;
    provider.always(
        "sk-openai-1",
        Behaviour::Status {
            code: 200,
            body: Some(body.into()),
            headers: Vec::new(),
        },
    );
    let mut client = client(&house, Http::One).await;
    assert_eq!(asked(&mut client, &[]).await.status, 200);
    let spans = spans_at_the_end(&house, &collector).await;
    for span in &spans {
        assert_eq!(span.text("gen_ai.request.model"), Some("gpt-4o"));
        let said = span.text("gen_ai.response.model");
        assert_eq!(said, Some("gpt-4o-2024-08-06"));
    }
}

#[tokio::test]
async fn what_cannot_be_served_says_why() {
    let collector = Collector::start().await;
    // Nobody listens there.
    let yaml = config("http://127.0.0.1:9", 1);
    let house = House::serve(&format!("{yaml}{}", collector.section("1"))).await;
    let mut client = client(&house, Http::One).await;
    assert_eq!(asked(&mut client, &[]).await.status, 502);
    let stranger = [("authorization", "Bearer nobody's-key-0123456789")];
    let refused = post_with(&mut client, CHAT.path, &stranger, chat("gpt-4o")).await;
    assert_eq!(refused.status, 401);
    let spans = spans_at_the_end(&house, &collector).await;
    let ends: Vec<_> = spans
        .iter()
        .map(|span| (span.text("error.type"), span.has_failed()))
        .collect();
    assert_eq!(
        ends,
        [
            (Some("upstream_unreachable"), true),
            (Some("unreachable"), true),
            // That is the caller's own.
            (Some("credential_unknown"), false),
        ]
    );
}

#[tokio::test]
async fn an_attempt_that_took_too_long_is_called_what_the_metric_calls_it() {
    let provider = FakeProvider::start(Options::default()).await;
    let collector = Collector::start().await;
    let yaml = config(&provider.base_url(), 1).replace(
        "server: {port: 0}",
        "server: {port: 0, timeouts: {first_byte: 200ms}}",
    );
    let house = House::serve(&format!("{yaml}{}", collector.section("1"))).await;
    provider.always("sk-openai-1", Behaviour::Hang);
    let mut client = client(&house, Http::One).await;
    assert_eq!(asked(&mut client, &[]).await.status, 504);
    let counted = "turnpike_upstream_attempts_total{credential=\"openai/1\",outcome=\"timeout\",provider=\"openai\"}";
    assert_eq!(house.metric(counted), 1.0);
    let spans = spans_at_the_end(&house, &collector).await;
    let attempt = one(&spans, SpanKind::Client);
    assert_eq!(attempt.text("error.type"), Some("timeout"));
}

#[tokio::test]
async fn a_streams_span_ends_when_the_stream_does() {
    for sides in SIDES {
        let provider = FakeProvider::start(Options::new(sides.provider)).await;
        let collector = Collector::start().await;
        let house = told(&provider, &collector, "1", 1).await;
        for (nth, call) in STREAMS.iter().enumerate() {
            provider.script(call.key, [Behaviour::Gated]);
            let mut caller = Caller::connect(&house, sides.client).await;
            provider.gate(call.key).release(1 + call.openings);
            let request = caller.request(call);
            let mut events = Events::new(caller.send(request).await.into_body());
            assert!(events.next().await.is_some());
            // Of the others, what ended before may be told by now.
            assert!(nth > 0 || collector.asked() == 0, "it goes on");
            provider.gate(call.key).release(1_000);
            while events.next().await.is_some() {}
        }
        let spans = spans_at_the_end(&house, &collector).await;
        let attempts: Vec<_> = spans
            .iter()
            .filter(|one| one.is(SpanKind::Client))
            .collect();
        assert_eq!(attempts.len(), STREAMS.len());
        for attempt in attempts {
            let [first] = &attempt.events[..] else {
                panic!("{:?}", attempt.events);
            };
            assert_eq!(first.name, "gen_ai.first_chunk");
            let lasts = attempt.start_time_unix_nano..attempt.end_time_unix_nano;
            assert!(lasts.contains(&first.time_unix_nano));
            assert!(attempt.number("gen_ai.usage.output_tokens") > Some(0));
            assert_eq!(attempt.text("error.type"), None);
            let model = attempt.text("gen_ai.request.model");
            assert_eq!(attempt.text("gen_ai.response.model"), model);
        }
    }
}

#[tokio::test]
async fn a_stream_that_is_left_or_breaks_off_ends_its_span_so() {
    let provider = FakeProvider::start(Options::default()).await;
    let collector = Collector::start().await;
    let house = told(&provider, &collector, "1", 1).await;
    provider.script(CHAT.key, [Behaviour::Gated]);
    let mut caller = Caller::connect(&house, Http::One).await;
    provider.gate(CHAT.key).release(1 + CHAT.openings);
    let request = caller.request(&CHAT);
    let mut events = Events::new(caller.send(request).await.into_body());
    assert!(events.next().await.is_some());
    caller.leave().await;
    house.settled().await;

    let after_events = CHAT.openings + 1;
    provider.script(CHAT.key, [Behaviour::CutMidStream { after_events }]);
    let mut caller = Caller::connect(&house, Http::Two).await;
    let request = caller.request(&CHAT);
    Answer::read(caller.send(request).await).await;

    let spans = spans_at_the_end(&house, &collector).await;
    let ends: Vec<_> = spans
        .iter()
        .map(|span| {
            (
                span.text("error.type"),
                span.has_failed(),
                span.events.len(),
            )
        })
        .collect();
    assert_eq!(
        ends,
        [
            (Some("client_gone"), false, 0),
            (Some("client_gone"), false, 1),
            (Some("upstream_failed"), true, 0),
            (Some("upstream_failed"), true, 1),
        ]
    );
}

#[tokio::test]
async fn what_is_not_recorded_says_so_and_leaves_nothing() {
    let provider = FakeProvider::start(Options::default()).await;
    let collector = Collector::start().await;
    let house = told(&provider, &collector, "0", 1).await;
    let mut client = client(&house, Http::One).await;
    let not_recorded = format!("00-{TRACE}-{PARENT}-00");
    for headers in [
        &[][..],
        &[("traceparent", &*not_recorded)],
        &[("traceparent", "garbage")],
    ] {
        assert_eq!(asked(&mut client, headers).await.status, 200);
        let call = provider.take_calls().pop().unwrap();
        assert!(call.header("traceparent").unwrap().ends_with("-00"));
    }
    assert!(spans_at_the_end(&house, &collector).await.is_empty());
    assert_eq!(collector.asked(), 0);
}

#[tokio::test]
async fn pages_unknown_paths_and_preflights_are_no_calls() {
    let provider = FakeProvider::start(Options::default()).await;
    let collector = Collector::start().await;
    let yaml = config(&provider.base_url(), 1).replace(
        "server: {port: 0}",
        "server: {port: 0, cors: {allowed_origins: [\"https://chat.example\"]}}",
    );
    let house = House::serve(&format!("{yaml}{}", collector.section("1"))).await;
    for http in [Http::One, Http::Two] {
        let mut client = client(&house, http).await;
        for path in [
            "/health",
            "/",
            "/auth",
            "/v0/management/auths",
            "/v1/nowhere",
        ] {
            get_with(&mut client, path, &[]).await;
        }
        // A browser asks for a page of elsewhere whether it may call.
        let mut client = self::client(&house, http).await;
        let mut preflight = client.request(CHAT.path, "");
        *preflight.method_mut() = http::Method::OPTIONS;
        let headers = preflight.headers_mut();
        headers.insert("origin", "https://chat.example".parse().unwrap());
        headers.insert("access-control-request-method", "POST".parse().unwrap());
        let answer = Answer::read(client.send(preflight).await.unwrap()).await;
        assert_eq!(answer.status, 204, "{}", answer.text());
    }
    assert!(spans_at_the_end(&house, &collector).await.is_empty());
}

/// Half past something.
const NOW: u64 = 1_780_000_000_000;

#[tokio::test]
async fn callers_cannot_have_everything_recorded() {
    let provider = FakeProvider::start(Options::default()).await;
    let collector = Collector::start().await;
    let yaml = config(&provider.base_url(), 1) + &collector.section("0");
    let time = Time::simulated(NOW);
    let house = House::serve_by(time.clone(), tempfile::tempdir().unwrap(), &yaml).await;
    let sent = format!("00-{TRACE}-{PARENT}-01");
    // A stranger has nothing recorded, and takes nothing of what there is for those who are known.
    for _ in 0..110 {
        let mut stranger = client(&house, Http::One).await;
        let headers = [
            ("authorization", "Bearer nobody's-key-0123456789"),
            ("traceparent", &sent),
        ];
        let refused = post_with(&mut stranger, CHAT.path, &headers, chat("gpt-4o")).await;
        assert_eq!(refused.status, 401);
        for (path, status) in [(CHAT.path, 405), ("/nothing", 404)] {
            let mut stranger = client(&house, Http::One).await;
            let refused = get_with(&mut stranger, path, &headers).await;
            assert_eq!(refused.status, status);
        }
    }
    let mut client = client(&house, Http::One).await;
    for (calls, recorded) in [(150, 100), (150, 100), (50, 50)] {
        let mut told = 0;
        for _ in 0..calls {
            asked(&mut client, &[("traceparent", &sent)]).await;
            let call = provider.take_calls().pop().unwrap();
            told += usize::from(call.header("traceparent").unwrap().ends_with("-01"));
        }
        assert_eq!(told, recorded);
        time.advance(std::time::Duration::from_secs(1));
    }
    let spans = spans_at_the_end(&house, &collector).await;
    assert_eq!(
        spans.iter().filter(|one| one.is(SpanKind::Server)).count(),
        250
    );
}

#[tokio::test]
async fn another_configuration_is_another_collector() {
    let provider = FakeProvider::start(Options::default()).await;
    let (before, after) = (Collector::start().await, Collector::start().await);
    let house = told(&provider, &before, "1", 1).await;
    let mut client = client(&house, Http::One).await;
    let yaml = config(&provider.base_url(), 1);
    for section in [after.section("0"), String::new(), after.section("1")] {
        replace(&house.config, &format!("{yaml}{section}"));
        house.gateway.reloader.reload().unwrap();
        assert_eq!(asked(&mut client, &[]).await.status, 200);
    }
    assert_eq!(spans_at_the_end(&house, &after).await.len(), 2);
    assert!(before.spans().is_empty());
}

/// The collector reads along: it ends the run where a secret of any test, or a canary, is in what it gets.
#[tokio::test]
async fn no_secret_and_no_prompt_is_in_a_span() {
    let provider = FakeProvider::start(Options::default()).await;
    let collector = Collector::start().await;
    let house = told(&provider, &collector, "1", 2).await;
    let quoting = Behaviour::Status {
        code: 400,
        body: Some(r#"{"error":{"message":"sk-openai-1 said CANARY"}}"#.into()),
        headers: vec![("x-request-id".to_owned(), "CANARY".to_owned())],
    };
    provider.script("sk-openai-1", [quoting]);
    let bearer = bearer();
    let odd = [
        ("authorization", &*bearer),
        ("x-session-id", "CANARY"),
        ("cookie", "a=CANARY"),
        ("tracestate", "CANARY=1"),
        ("baggage", "a=CANARY"),
    ];
    for http in [Http::One, Http::Two] {
        let mut client = client(&house, http).await;
        for call in &STREAMS {
            let body = call.body.replace("hello", "CANARY of a prompt");
            let sign = if call.path.contains('?') { '&' } else { '?' };
            let path = format!("{}{sign}canary=CANARY", call.path);
            post_with(&mut client, &path, &odd, body).await;
        }
        let key = format!("/v1beta/models/gemini-2.5-pro:generateContent?key={KEY}");
        post_with(&mut client, &key, &[], "{}").await;
        for (path, body) in [
            ("/v1/nowhere?key=CANARY", "{}"),
            (CHAT.path, r#"{"CANARY"#),
            ("/v1/files?purpose=CANARY", "{}"),
        ] {
            post_with(&mut client, path, &odd, body).await;
            client = self::client(&house, http).await;
        }
    }
    let spans = spans_at_the_end(&house, &collector).await;
    let calls = spans.iter().filter(|one| one.is(SpanKind::Server)).count();
    // All but the path that is none.
    assert_eq!(calls, 2 * 7);
}

#[tokio::test]
async fn a_trace_is_named_in_the_log_and_in_the_audit() {
    let provider = FakeProvider::start(Options::default()).await;
    let yaml = config(&provider.base_url(), 1);
    let binary = Binary::start(&yaml, &["--log-level", "debug"]).await;
    let mut client = binary.client(Http::One).await;
    let sent = format!("00-{TRACE}-{PARENT}-00");
    assert_eq!(
        asked(&mut client, &[("traceparent", &sent)]).await.status,
        200
    );
    assert_eq!(asked(&mut client, &[]).await.status, 200);
    until(|| binary.log().matches("operation=\"chat\"").count() == 2).await;
    let log = binary.log();
    // That of the other is of nobody but its own request, whose id it is.
    assert_eq!(log.matches(" trace=").count(), 1, "{log}");
    assert_eq!(log.matches(&format!(" trace={TRACE}")).count(), 1, "{log}");
    let recorded = |event: &str| {
        let named = format!("\"event\":\"{event}\"");
        let (kept, trace) = (binary.kept(), format!("\"trace\":\"{TRACE}\""));
        let lines = kept.lines().filter(|line| line.contains(&named));
        lines.filter(|line| line.contains(&trace)).count()
    };
    until(|| (recorded("request.start"), recorded("request.end")) == (1, 1)).await;
    binary.stop().await;
}
