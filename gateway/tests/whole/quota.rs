//! What credentials use of their quotas: counted to the token, over periods and processes.

use std::sync::Arc;

use futures::future::join_all;
use jiff::Timestamp;
use turnpike::clock::Time;
use turnpike_api::Ledger;
use turnpike_loadtest::{Behaviour, FakeProvider, Options};
use turnpike_store::Embedded;

use crate::binary::Binary;
use crate::calls::{CHAT, Caller, Events, RESPONSES, STREAMS};
use crate::harness::{Client, House, Http, until};
use crate::pools::{
    CLAUDE, OPENAI, Pools, SPEECHES, Speech, copy_files, seconds, server, tokens, yaml,
};

/// One provider of Anthropic's with these credentials, by a clock that begins at `now`.
async fn with_credentials(now: &str, rest: &str, credentials: &str) -> Pools {
    let provider = FakeProvider::start(Options::default()).await;
    let url = provider.base_url();
    let yaml = format!(
        "{}providers: {{claude: {{base_url: \"{url}\", credentials: [{credentials}]}}}}\n",
        server(rest)
    );
    let now: Timestamp = now.parse().unwrap();
    Pools::from(now.as_millisecond() as u64, provider, &yaml).await
}

/// Tokens of one of the dialect's documents.
fn of_a_call(speech: &Speech) -> u64 {
    turnpike_loadtest::input_tokens(speech.body.len()) + Options::default().events as u64
}

// ── to the token ────────────────────────────────────────────────────────────────────────────────

/// Compares the books of the gateway with the provider's own.
async fn assert_same_books(pools: &Pools, key: &str) {
    let spent = pools.spent(key).await;
    let told = pools.provider.usage_of(key);
    assert_eq!(spent.tokens - spent.estimated, tokens(told), "{key}");
    let running = pools.credential(key).standing.allowance.running();
    assert_eq!(running.spent, spent.tokens, "{key}");
}

#[tokio::test(flavor = "multi_thread")]
async fn used_is_what_the_provider_told() {
    let pools = Pools::of(3, "").await;
    let bursts = SPEECHES.map(|speech| pools.burst(speech, 60));
    for answers in join_all(bursts).await {
        assert!(answers.iter().all(|answer| answer.status == 200));
    }
    join_all((0..9).map(|_| pools.post(RESPONSES.path, RESPONSES.body))).await;
    pools.house.settled().await;
    for speech in SPEECHES {
        for n in 1..=3 {
            let key = speech.key(n);
            assert_same_books(&pools, &key).await;
            let (spent, told) = (pools.spent(&key).await, pools.provider.usage_of(&key));
            assert_eq!((spent.estimated, spent.calls), (0, told.calls), "{key}");
            assert!(told.calls >= 20);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_counted_before_it_is_whole() {
    let pools = Pools::of(1, "").await;
    let mut client = Client::connect(&pools.house, Http::One).await;
    for n in 0..200 {
        let speech = SPEECHES[n % 3];
        let (path, body) = match n % 2 {
            0 => (speech.path, speech.body),
            _ => (speech.stream.path, speech.stream.body),
        };
        assert_eq!(client.post(path, body).await.status, 200);
        assert_same_books(&pools, &speech.key(1)).await;
    }
}

#[tokio::test]
async fn what_a_stream_that_was_left_did_not_say_is_estimated_and_flagged() {
    let pools = Pools::of(1, "").await;
    for call in &STREAMS {
        let key = call.key;
        let before = pools.spent(key).await;
        pools.provider.script(key, [Behaviour::Gated]);
        let gate = pools.provider.gate(key);
        let mut caller = Caller::connect(&pools.house, Http::One).await;
        let request = caller.request(call);
        let released = call.openings + 3;
        gate.release(released);
        let mut events = Events::new(caller.send(request).await.into_body());
        for _ in 0..released {
            events.next().await.unwrap();
        }
        drop(events);
        caller.leave().await;
        pools.house.settled().await;
        let spent = pools.spent(key).await;
        assert_same_books(&pools, key).await;
        assert_eq!(spent.calls, before.calls + 1, "{call:?}");
        // What came was at least the prompt and some of the answer.
        assert!(spent.tokens > before.tokens, "{call:?}");
        let says_nothing_yet = [CHAT.operation, RESPONSES.operation].contains(&call.operation);
        if says_nothing_yet {
            assert!(spent.estimated > before.estimated, "{call:?}");
        }
    }
}

#[tokio::test]
async fn answers_without_usage_are_estimated_and_flagged() {
    let pools = Pools::of(1, "").await;
    let key = OPENAI.key(1);
    let answer = r#"{"id":"x","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"Hello"},"finish_reason":"stop"}]}"#;
    let silent = Behaviour::Body {
        content_type: "application/json".to_owned(),
        bytes: answer.into(),
        chunked: false,
    };
    pools.provider.script(&key, [silent]);
    assert_eq!(pools.ask(&OPENAI).await.status, 200);
    // A stream that was not asked for its usage does not say it.
    let body = OPENAI.body.replacen('{', r#"{"stream":true,"#, 1);
    let stream = pools.post(OPENAI.path, body).await;
    assert!(stream.text().contains("[DONE]"));
    pools.house.settled().await;
    let spent = pools.spent(&key).await;
    assert_eq!(tokens(pools.provider.usage_of(&key)), 0);
    assert_eq!((spent.calls, spent.estimated), (2, spent.tokens));
    assert!(spent.tokens > 0);
    // A refusal used nothing.
    pools.provider.script(&key, [Behaviour::bad_request()]);
    pools.ask(&OPENAI).await;
    pools.house.settled().await;
    assert_eq!(pools.spent(&key).await, spent);
}

// ── a limit, and its end ────────────────────────────────────────────────────────────────────────

const IN_ORDER: &str = "auth: {selection_strategy: priority}";

#[tokio::test]
async fn a_spent_quota_is_the_next_credentials_turn() {
    let of_two = of_a_call(&CLAUDE) + 1;
    let credentials =
        format!("{{api_key: sk-claude-1, quota: {{limit: {of_two}}}}}, {{api_key: sk-claude-2}}");
    let pools = with_credentials("2026-03-01T00:00:00Z", IN_ORDER, &credentials).await;
    for _ in 0..5 {
        assert_eq!(pools.ask(&CLAUDE).await.status, 200);
        pools.house.settled().await;
    }
    assert_eq!(pools.billed("sk-claude-1"), 2);
    assert_eq!(pools.billed("sk-claude-2"), 3);
    assert_same_books(&pools, "sk-claude-1").await;
}

/// Spends a quota a second before `end`, and sees it begin anew at it, and not sooner.
async fn begins_anew(end: &str, quota: &str) {
    let end: Timestamp = end.parse().unwrap();
    let second_before = end - jiff::SignedDuration::from_secs(1);
    let credential = "{api_key: sk-claude-1, quota: {limit: 5}}";
    let rest = format!("auth: {{quota: {quota}}}");
    let pools = with_credentials(&second_before.to_string(), &rest, credential).await;
    assert_eq!(pools.ask(&CLAUDE).await.status, 200);
    pools.house.settled().await;
    let answer = pools.ask(&CLAUDE).await;
    assert_eq!(answer.status, 429, "{quota}");
    assert_eq!(answer.json()["error"]["reset_time"], end.to_string());
    assert_eq!(answer.json()["error"]["reset_seconds"], 1);
    pools.advance(std::time::Duration::from_millis(999));
    assert_eq!(pools.ask(&CLAUDE).await.status, 429, "{quota}");
    pools.advance(std::time::Duration::from_millis(1));
    assert_eq!(pools.spent("sk-claude-1").await.tokens, 0);
    assert_eq!(pools.ask(&CLAUDE).await.status, 200, "{quota}");
    pools.house.settled().await;
    assert_eq!(pools.spent("sk-claude-1").await.tokens, of_a_call(&CLAUDE));
    assert_eq!(pools.billed("sk-claude-1"), 2);
}

#[tokio::test]
async fn a_quota_begins_anew_by_itself_when_its_period_does() {
    let daily = "{reset_schedule: {claude: daily}, zone: Europe/Berlin}";
    // A leap year's February.
    begins_anew("2028-03-01T00:00:00Z", "{}").await;
    begins_anew("2026-12-31T23:00:00Z", "{zone: Europe/Berlin}").await;
    // The days of 23 and of 25 hours.
    begins_anew("2026-03-28T23:00:00Z", daily).await;
    begins_anew("2026-03-29T22:00:00Z", daily).await;
    begins_anew("2026-10-24T22:00:00Z", daily).await;
    begins_anew("2026-10-25T23:00:00Z", daily).await;
    // An hour that comes twice.
    let hour = "{reset_schedule: {claude: \"30 2 * * *\"}, zone: Europe/Berlin}";
    begins_anew("2026-10-25T00:30:00Z", hour).await;
    begins_anew("2026-10-26T01:30:00Z", hour).await;
}

#[tokio::test]
async fn a_period_that_begins_under_a_call_gets_what_it_used() {
    let credential = "{api_key: sk-claude-1, quota: {limit: 100000}}";
    let pools = with_credentials("2026-03-31T23:59:59Z", "", credential).await;
    let key = "sk-claude-1";
    pools.provider.script(key, [Behaviour::held(Behaviour::Ok)]);
    let over_the_edge = async {
        pools.provider.wait_for_calls(1).await;
        pools.advance(seconds(1));
        pools.provider.gate(key).release(1);
    };
    let (answer, ()) = futures::join!(pools.ask(&CLAUDE), over_the_edge);
    assert_eq!(answer.status, 200);
    pools.house.settled().await;
    assert_same_books(&pools, key).await;
    assert_eq!(pools.spent(key).await.tokens, of_a_call(&CLAUDE));
}

#[tokio::test]
async fn quota_aware_empties_quotas_evenly() {
    let strategy = "auth: {selection_strategy: quota_aware}";
    let call = of_a_call(&CLAUDE);
    let limits = [200, 100, 60].map(|calls| calls * call);
    let credentials: Vec<String> = (1..)
        .zip(limits)
        .map(|(n, limit)| format!("{{api_key: sk-claude-{n}, quota: {{limit: {limit}}}}}"))
        .collect();
    let credentials = credentials.join(", ");
    let pools = with_credentials("2026-03-01T00:00:00Z", strategy, &credentials).await;
    let mut client = Client::connect(&pools.house, Http::One).await;
    for _ in 0..270 {
        assert_eq!(client.post(CLAUDE.path, CLAUDE.body).await.status, 200);
    }
    pools.house.settled().await;
    let left = [1, 2, 3].map(|n| pools.credential(&CLAUDE.key(n)).left());
    // 90 calls' worth is left, 30 each.
    assert!(
        left.iter().all(|left| left.abs_diff(30 * call) <= call),
        "{left:?}"
    );
}

#[tokio::test]
async fn what_was_used_survives_a_restart() {
    let limit = of_a_call(&CLAUDE) + 1;
    let credential = format!("{{api_key: sk-claude-1, quota: {{limit: {limit}}}}}");
    let pools = with_credentials("2026-03-01T00:00:00Z", "", &credential).await;
    assert_eq!(pools.ask(&CLAUDE).await.status, 200);
    pools.house.settled().await;
    let pools = pools.restarted().await;
    assert_same_books(&pools, "sk-claude-1").await;
    assert_eq!(pools.ask(&CLAUDE).await.status, 200);
    pools.house.settled().await;
    let pools = pools.restarted().await;
    assert_same_books(&pools, "sk-claude-1").await;
    assert_eq!(pools.ask(&CLAUDE).await.status, 429);
    assert_eq!(pools.billed("sk-claude-1"), 2);
}

// ── a process that is killed ────────────────────────────────────────────────────────────────────

/// As many calls are under way at once.
const CALLERS: usize = 8;

/// Calls, half of them streams, until the gateway is gone. Answers with the tokens of the answers
/// that came whole.
async fn call_on(binary: &Binary, n: usize) -> u64 {
    let mut whole = 0;
    let speech = SPEECHES[n % 3];
    let (path, body) = match n % 2 {
        0 => (speech.path, speech.body),
        _ => (speech.stream.path, speech.stream.body),
    };
    let mut client = binary.client(Http::One).await;
    loop {
        let request = client.request(path, body);
        let Ok(response) = client.send(request).await else {
            return whole;
        };
        let answer = http_body_util::BodyExt::collect(response.into_body()).await;
        if answer.is_err() {
            return whole;
        }
        let events = Options::default().events as u64;
        whole += turnpike_loadtest::input_tokens(body.len()) + events;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_killed_has_recorded_what_was_not_under_way() {
    let provider = FakeProvider::start(Options::default()).await;
    let yaml = yaml(&provider.base_url(), 2, "");
    let binary = Binary::start(&yaml, &[]).await;
    let calls = join_all((0..CALLERS).map(|n| call_on(&binary, n)));
    let kill = async {
        provider.wait_for_calls(400).await;
        binary.signal("-KILL").await;
    };
    let (whole, ()) = futures::join!(calls, kill);

    let dir = binary.config.parent().unwrap();
    let left = tempfile::tempdir().unwrap();
    copy_files(dir, left.path());
    let store = Embedded::open(&left.path().join("turnpike.db"), Arc::new(Time::system())).unwrap();
    let days = store.usage(0, u32::MAX).await.unwrap();
    let recorded: u64 = days
        .iter()
        .map(|day| day.used.usage.input + day.used.usage.output - day.used.estimated)
        .sum();
    assert!(days.iter().all(|day| day.token == "key tests"), "{days:?}");
    let told = tokens(provider.usage_total());
    let longest = SPEECHES.map(|speech| {
        let body = speech.body.len().max(speech.stream.body.len());
        turnpike_loadtest::input_tokens(body) + Options::default().events as u64
    });
    let under_way = CALLERS as u64 * longest.into_iter().max().unwrap();
    let whole: u64 = whole.into_iter().sum();
    assert!(whole > 0);
    // Whatever a caller has whole is recorded, and nothing that was not told.
    assert!(whole <= recorded, "{whole} whole, {recorded} recorded");
    assert!(recorded <= told, "{recorded} recorded, {told} told");
    assert!(
        told <= recorded + under_way,
        "{told} told, {recorded} recorded"
    );

    // The next process goes on from there.
    drop(store);
    let house = House::serve_in(left, &yaml).await;
    let snapshot = house.gateway.runtime.snapshot();
    let spent = snapshot.usable().map(|one| one.standing.allowance.spent());
    assert_eq!(spent.sum::<u64>(), recorded);
    until(|| house.metric("turnpike_requests_in_flight") == 0.0).await;
}
