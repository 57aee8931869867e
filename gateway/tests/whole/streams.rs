//! Streams: nothing is held back, leaving is noticed, and no broken answer looks whole.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use serde_json::Value;
use turnpike_loadtest::{Behaviour, FakeProvider, Options};

use crate::calls::{
    CHAT, Caller, Events, GEMINI, MESSAGES, RESPONSES, SIDES, STREAMS, StreamCall, client,
    events_of, served,
};
use crate::harness::{Answer, House, Http, PATIENCE};

/// So soon a provider is to hear that the client left: it bills for what it goes on to make.
const NOTICED: Duration = Duration::from_millis(250);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_arrives_while_the_provider_waits_for_it_to_be_acknowledged() {
    for sides in SIDES {
        let (provider, house) = served(Options::new(sides.provider), 1).await;
        for call in &STREAMS {
            provider.script(call.key, [Behaviour::Gated]);
            let events = acknowledged_one_by_one(&provider, &house, call, sides.client).await;
            let last = events.last().unwrap();
            assert!(last.contains(call.terminal), "{sides:?} {call:?}: {last}");
        }
        house.settled().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_between_any_two_events_is_noticed_and_recorded_once() {
    const STREAMS_CUT: usize = 200;
    let mut noticed = Vec::new();
    for (at, sides) in SIDES.into_iter().enumerate() {
        let options = Options {
            events: STREAMS_CUT,
            ..Options::new(sides.provider)
        };
        let (provider, house) = served(options, 1).await;
        let mut cut = 0;
        for index in (at..STREAMS_CUT).step_by(SIDES.len()) {
            let call = &STREAMS[(index / SIDES.len()) % STREAMS.len()];
            provider.script(call.key, [Behaviour::Gated]);
            noticed.push(leave_after(&provider, &house, call, sides.client, index).await);
            cut += 1;
        }
        house.settled().await;
        assert_eq!(client_gone(&house), f64::from(cut), "{sides:?}");
        assert_eq!(
            requests(&house),
            f64::from(cut),
            "nothing else was recorded"
        );
        let told = provider.usage_total();
        assert_eq!(tokens(&house), (told.input_tokens, told.output_tokens));
    }
    within_the_bound(noticed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_while_the_provider_is_silent_is_noticed() {
    let mut noticed = Vec::new();
    for sides in SIDES {
        let (provider, house) = served(Options::new(sides.provider), 1).await;
        for call in &STREAMS {
            provider.script(call.key, [Behaviour::Hang]);
            noticed.push(leave_after(&provider, &house, call, sides.client, 0).await);
        }
        house.settled().await;
        assert_eq!(
            (client_gone(&house), requests(&house)),
            (4.0, 4.0),
            "{sides:?}"
        );
        assert_eq!(tokens(&house), (0, 0));
    }
    within_the_bound(noticed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_http2_client_that_resets_a_stream_keeps_its_connection() {
    for sides in SIDES.into_iter().filter(|sides| sides.client == Http::Two) {
        let (provider, house) = served(Options::new(sides.provider), 1).await;
        let mut caller = Caller::connect(&house, sides.client).await;
        for (n, call) in STREAMS.iter().enumerate() {
            provider.script(call.key, [Behaviour::Gated]);
            provider.gate(call.key).release(1 + call.openings);
            let request = caller.request(call);
            let mut events = Events::new(caller.send(request).await.into_body());
            assert!(events.next().await.is_some());
            let id = provider.calls()[n].id;
            drop(events);
            let gone = provider.closed_by_peer(id);
            tokio::time::timeout(PATIENCE, gone)
                .await
                .expect("the provider is told");
        }
        let request = caller.request(&CHAT);
        let whole = Answer::read(caller.send(request).await).await;
        assert!(whole.text().contains(CHAT.terminal));
        house.settled().await;
        assert_eq!((client_gone(&house), requests(&house)), (4.0, 5.0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_breaks_off_ends_in_the_dialects_error() {
    for sides in SIDES {
        let (provider, house) = served(Options::new(sides.provider), 1).await;
        for call in &STREAMS {
            let after_events = call.openings + 2;
            for behaviour in [
                Behaviour::CutMidStream { after_events },
                Behaviour::EndWithoutTerminal { after_events },
            ] {
                provider.script(call.key, [behaviour]);
                let answer = streamed(&house, sides.client, call).await;
                let events = events_of(answer.text());
                assert_eq!(
                    (answer.status, events.len()),
                    (200, after_events + 1),
                    "{sides:?} {call:?}"
                );
                assert_is_our_error(call, events[after_events]);
                assert!(!answer.text().contains(call.terminal), "{sides:?} {call:?}");
            }
        }
        house.settled().await;
        let reasons = ["upstream_failed", "upstream_incomplete"];
        for call in &STREAMS {
            let told = reasons.map(|reason| house.metric(&request_series(call, "200", reason)));
            assert_eq!(told, [1.0, 1.0], "{sides:?} {call:?}");
        }
    }
}

#[tokio::test]
async fn an_error_event_stands_apart_from_half_an_event() {
    let (provider, house) = served(Options::default(), 1).await;
    for call in &STREAMS {
        for half in [
            "data: {\"half",
            "data: {\"half\":1}",
            "data: {\"half\":1}\n",
            "event: x\r\n",
        ] {
            let first = "event: ping\ndata: {\"type\": \"ping\"}\n\n";
            let bytes = Bytes::from(format!("{first}{half}"));
            provider.script(call.key, [event_stream(bytes)]);
            let answer = streamed(&house, Http::One, call).await;
            let rest = answer.text().strip_prefix(first).unwrap();
            let rest = rest.strip_prefix(half).unwrap();
            let blank = rest.len() - rest.trim_start().len();
            assert!(rest[..blank].starts_with("\n\n"), "{rest:?}");
            assert_is_our_error(call, &rest[blank..]);
        }
    }
    house.settled().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_providers_own_error_event_is_passed_on_and_nothing_added() {
    for sides in SIDES {
        let (provider, house) = served(Options::new(sides.provider), 1).await;
        for call in &STREAMS {
            let after_events = call.openings + 2;
            provider.script(call.key, [Behaviour::InStreamError { after_events }]);
            let answer = streamed(&house, sides.client, call).await;
            let events = events_of(answer.text());
            assert_eq!(
                (answer.status, events.len()),
                (200, after_events + 1),
                "{sides:?} {call:?}"
            );
            let error = events[after_events];
            assert_is_an_error(call, error);
            let theirs = [
                "The server had an error",
                "Internal server error",
                "An internal error",
            ];
            assert!(theirs.iter().any(|words| error.contains(words)), "{error}");
            assert!(!answer.text().contains(call.terminal));
        }
        house.settled().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_no_event_stream_is_cut_where_its_provider_broke_off() {
    let array = "/v1beta/models/gemini-2.5-pro:streamGenerateContent";
    let whole = CHAT.body.replace("true", "false");
    for sides in SIDES {
        let (provider, house) = served(Options::new(sides.provider), 1).await;
        for (path, body, key) in [
            (array, GEMINI.body, GEMINI.key),
            (CHAT.path, &whole, CHAT.key),
        ] {
            provider.script(key, [Behaviour::CutMidStream { after_events: 2 }]);
            let mut client = client(&house, sides.client).await;
            let request = client.request(path, body.to_owned());
            let answer = client.send(request).await.unwrap().into_body();
            let reading = tokio::time::timeout(PATIENCE, answer.collect());
            assert!(reading.await.expect("it ends").is_err(), "{sides:?} {path}");
        }
        house.settled().await;
        let cut = ["chat", "stream_generate_content"].map(|operation| {
            let labels = format!("operation=\"{operation}\",reason=\"upstream_failed\"");
            house.metric(&format!(
                "turnpike_requests_total{{{labels},status=\"200\"}}"
            ))
        });
        assert_eq!(cut, [1.0, 1.0], "{sides:?}");
    }
}

#[tokio::test]
async fn a_stream_cut_before_its_first_event_is_an_ordinary_error() {
    let (provider, house) = served(Options::default(), 1).await;
    for call in &STREAMS {
        for behaviour in [
            Behaviour::CutMidStream { after_events: 0 },
            Behaviour::CutBeforeHead,
        ] {
            provider.script(call.key, [behaviour]);
            let answer = streamed(&house, Http::One, call).await;
            assert_eq!(answer.status, 502, "{call:?}: {}", answer.text());
            assert!(answer.json()["error"].is_object());
        }
    }
    house.settled().await;
}

#[tokio::test]
async fn a_provider_overloaded_in_its_first_event_is_never_seen() {
    for sides in SIDES {
        let (provider, house) = served(Options::new(sides.provider), 2).await;
        for call in &STREAMS {
            provider.always(call.key, Behaviour::OverloadedEvent);
            for _ in 0..2 {
                let answer = streamed(&house, sides.client, call).await;
                assert_eq!(answer.status, 200);
                assert!(answer.text().contains(call.terminal), "{sides:?} {call:?}");
                assert!(!answer.text().contains("overloaded"), "{}", answer.text());
            }
            let refused = provider.calls_with(call.key).len();
            assert!(refused >= 1, "round robin comes by both credentials");
            provider.take_calls();
        }
        house.settled().await;
    }
}

#[tokio::test]
async fn a_stream_of_errors_from_every_credential_is_the_last_ones_error() {
    let (provider, house) = served(Options::default(), 2).await;
    for call in &STREAMS {
        provider.always(call.key, Behaviour::OverloadedEvent);
        provider.always(&call.key.replace("-1", "-2"), Behaviour::OverloadedEvent);
        let answer = streamed(&house, Http::One, call).await;
        let events = events_of(answer.text());
        assert_eq!((answer.status, events.len()), (200, 1), "{}", answer.text());
        assert_is_an_error(call, events[0]);
    }
    house.settled().await;
}

#[tokio::test]
async fn what_is_metered_is_what_the_provider_told() {
    for sides in SIDES {
        let (provider, house) = served(Options::new(sides.provider), 1).await;
        let mut client = client(&house, sides.client).await;
        for (path, body) in METERED {
            let answer = client.post(path, body).await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
            house.settled().await;
            let told = provider.usage_total();
            let told = (told.input_tokens, told.output_tokens);
            assert_eq!(tokens(&house), told, "{sides:?} {path} {body}");
        }
        assert_eq!(provider.usage_total().calls, METERED.len() as u64);
        assert_eq!(sum(&house, "turnpike_usage_missing_total{"), 0.0);
    }
}

#[tokio::test]
async fn a_good_answer_without_usage_is_counted() {
    let (provider, house) = served(Options::default(), 1).await;
    let mut client = client(&house, Http::One).await;
    let chat = CHAT
        .body
        .replace(r#""stream_options":{"include_usage":true},"#, "");
    let streamed = client.post(CHAT.path, chat).await;
    assert!(streamed.text().contains(CHAT.terminal));
    // These have no usage to state.
    let count = client
        .post("/v1/messages/count_tokens", MESSAGES.body)
        .await;
    provider.script(CHAT.key, [Behaviour::bad_request()]);
    let refused = client.post("/v1/embeddings", r#"{"model":"gpt-4o"}"#).await;
    assert_eq!((count.status, refused.status), (200, 400));
    house.settled().await;
    let missing = r#"turnpike_usage_missing_total{model="gpt-4o",provider="openai"}"#;
    assert_eq!(house.metric(missing), 1.0);
    assert_eq!(sum(&house, "turnpike_usage_missing_total{"), 1.0);
    assert_eq!(provider.usage_total().calls, 0);
    assert_eq!(tokens(&house), (0, 0));
}

/// One call of each kind whose answer states usage.
const METERED: [(&str, &str); 13] = [
    (CHAT.path, CHAT.body),
    (
        CHAT.path,
        r#"{"model":"gpt-4o","messages":[{"role":"user","content":"hello there"}]}"#,
    ),
    ("/v1/completions", r#"{"model":"gpt-4o","prompt":"hello"}"#),
    (
        "/v1/completions",
        r#"{"model":"gpt-4o","prompt":"hello","stream":true,"stream_options":{"include_usage":true}}"#,
    ),
    (RESPONSES.path, RESPONSES.body),
    (RESPONSES.path, r#"{"model":"gpt-4o","input":"hello"}"#),
    (
        "/v1/embeddings",
        r#"{"model":"text-embedding-3-small","input":"hello"}"#,
    ),
    (MESSAGES.path, MESSAGES.body),
    (
        MESSAGES.path,
        r#"{"model":"claude-sonnet-4-5","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}"#,
    ),
    (GEMINI.path, GEMINI.body),
    (
        "/v1beta/models/gemini-2.5-pro:streamGenerateContent",
        GEMINI.body,
    ),
    ("/v1beta/models/gemini-2.5-pro:generateContent", GEMINI.body),
    (
        "/v1/images/generations",
        r#"{"model":"dall-e-3","prompt":"a cat"}"#,
    ),
];

async fn streamed(house: &House, http: Http, call: &StreamCall) -> Answer {
    client(house, http).await.post(call.path, call.body).await
}

/// Lets the provider send an event only when the one before has arrived. Openings are held back
/// until there is content: they arrive with it.
async fn acknowledged_one_by_one(
    provider: &FakeProvider,
    house: &House,
    call: &StreamCall,
    http: Http,
) -> Vec<String> {
    let gate = provider.gate(call.key);
    gate.release(1 + call.openings);
    let mut caller = Caller::connect(house, http).await;
    let request = caller.request(call);
    let mut events = Events::new(caller.send(request).await.into_body());
    let mut seen = Vec::new();
    for _ in 0..call.openings {
        seen.push(events.next().await.expect("an opening"));
    }
    loop {
        let event = events.next().await.expect("the released event");
        let held = house.metric("turnpike_request_body_bytes");
        assert_eq!(held, 0.0, "an open stream holds its request's body");
        let last = event.contains(call.terminal);
        seen.push(event);
        if last {
            break;
        }
        gate.release(1);
    }
    assert_eq!(events.next().await, None);
    seen
}

/// Leaves after `events` events, and returns how long it took until the provider was told.
async fn leave_after(
    provider: &FakeProvider,
    house: &House,
    call: &StreamCall,
    http: Http,
    events: usize,
) -> Duration {
    let before = provider.count();
    let mut caller = Caller::connect(house, http).await;
    let reading = match events {
        0 => unanswered(provider, call, &mut caller).await,
        _ => Some(read_events(provider, call, &mut caller, events).await),
    };
    let id = provider.calls()[before].id;
    let left = caller.leave().await;
    drop(reading);
    let gone = tokio::time::timeout(PATIENCE, provider.closed_by_peer(id));
    gone.await
        .expect("the provider is told")
        .saturating_duration_since(left)
}

/// Sends a call and waits until the provider has it, who does not answer.
async fn unanswered(
    provider: &FakeProvider,
    call: &StreamCall,
    caller: &mut Caller,
) -> Option<Events> {
    let calls = provider.count() + 1;
    let request = caller.request(call);
    tokio::select! {
        _ = caller.send(request) => panic!("an answer to a call that is not answered"),
        () = provider.wait_for_calls(calls) => None,
    }
}

/// Reads that many events, each released when the one before has come; but for the openings,
/// which come with the first content.
async fn read_events(
    provider: &FakeProvider,
    call: &StreamCall,
    caller: &mut Caller,
    count: usize,
) -> Events {
    let gate = provider.gate(call.key);
    gate.release(1 + call.openings);
    let request = caller.request(call);
    let mut events = Events::new(caller.send(request).await.into_body());
    for read in 1..count {
        events.next().await.expect("the released event");
        if read > call.openings {
            gate.release(1);
        }
    }
    events.next().await.expect("the released event");
    events
}

/// The median is held to the bound; a machine that stalls may spoil single ones.
fn within_the_bound(mut noticed: Vec<Duration>) {
    noticed.sort();
    let (median, most) = (noticed[noticed.len() / 2], noticed[noticed.len() - 1]);
    println!(
        "{} leavings noticed within {median:?}, at most {most:?}",
        noticed.len()
    );
    assert!(median <= NOTICED, "{median:?}");
}

fn event_stream(bytes: Bytes) -> Behaviour {
    Behaviour::Body {
        content_type: "text/event-stream".to_owned(),
        bytes,
        chunked: true,
    }
}

fn assert_is_our_error(call: &StreamCall, event: &str) {
    assert_is_an_error(call, event);
    assert!(event.contains("the answer is not complete"), "{event}");
}

/// One whole event, of the form of the dialect's errors.
fn assert_is_an_error(call: &StreamCall, event: &str) {
    let lines: Vec<&str> = event.trim_end().lines().collect();
    let (name, data) = match lines.as_slice() {
        [data] => ("", *data),
        [name, data] => (*name, *data),
        _ => panic!("not one event: {event:?}"),
    };
    let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
    let is_well_formed = match call.operation {
        "chat" => name.is_empty() && data["error"]["message"].is_string(),
        "responses" => {
            name == "event: error" && data["type"] == "error" && data["message"].is_string()
        }
        "messages" => {
            name == "event: error" && data["type"] == "error" && data["error"]["type"].is_string()
        }
        _ => name.is_empty() && data["error"]["status"].is_string(),
    };
    assert!(is_well_formed, "{call:?}: {event}");
}

fn request_series(call: &StreamCall, status: &str, reason: &str) -> String {
    let operation = call.operation;
    format!(
        "turnpike_requests_total{{operation=\"{operation}\",reason=\"{reason}\",status=\"{status}\"}}"
    )
}

fn client_gone(house: &House) -> f64 {
    let series = STREAMS
        .iter()
        .map(|call| request_series(call, "499", "client_gone"));
    series.map(|series| house.metric(&series)).sum()
}

fn requests(house: &House) -> f64 {
    sum(house, "turnpike_requests_total{")
}

/// Input and output tokens, over all providers and models.
fn tokens(house: &House) -> (u64, u64) {
    let of = |kind: &str| sum(house, &format!("turnpike_tokens_total{{kind=\"{kind}\"")) as u64;
    (of("input"), of("output"))
}

/// Of all series that begin so.
fn sum(house: &House, series: &str) -> f64 {
    let text = house.metrics();
    let lines = text.lines().filter(|line| line.starts_with(series));
    lines
        .map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap())
        .sum()
}
