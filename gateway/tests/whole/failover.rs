//! Who serves when the first one does not: the next credential, the same one later, another model.

use std::time::Duration;

use futures::future::join_all;
use turnpike_loadtest::Behaviour;

use crate::calls::{self, CHAT, GEMINI, MESSAGES, RESPONSES, StreamCall, events_of};
use crate::harness::{Answer, Client, House, Http, KEY, chat, until};
use crate::pools::{CLAUDE, GOOGLE, OPENAI, Pools, assert_whole, seconds, server};

const MILLISECOND: Duration = Duration::from_millis(1);

/// The first key is asked first.
const IN_ORDER: &str = "auth: {selection_strategy: priority}";

// ── streams ─────────────────────────────────────────────────────────────────────────────────────

fn first_key(call: &StreamCall) -> String {
    call.key.to_owned()
}

fn second_key(call: &StreamCall) -> String {
    call.key.replace("-1", "-2")
}

/// What a stream that failed has, and one that did not has not.
fn tells_of_trouble(text: &str) -> bool {
    text.to_lowercase().contains("overloaded") || text.contains("\"error\":{")
}

#[tokio::test]
async fn a_stream_that_fails_before_its_content_is_served_by_the_next() {
    let pools = Pools::of(2, IN_ORDER).await;
    for call in [CHAT, RESPONSES, MESSAGES, GEMINI] {
        let good = pools.post(call.path, call.body).await;
        let events = events_of(good.text()).len();
        for after_events in 0..=call.openings {
            for behaviour in [
                Behaviour::OverloadedAfter { after_events },
                Behaviour::InStreamError { after_events },
                Behaviour::CutMidStream { after_events },
            ] {
                let (first, second) = (first_key(&call), second_key(&call));
                pools.provider.script(&first, [behaviour.clone()]);
                pools.provider.take_calls();
                let answer = pools.post(call.path, call.body).await;
                let what = format!("{call:?} {behaviour:?}: {}", answer.text());
                assert_eq!(answer.status, 200, "{what}");
                assert_eq!(events_of(answer.text()).len(), events, "{what}");
                assert!(!tells_of_trouble(answer.text()), "{what}");
                assert_eq!((pools.billed(&first), pools.billed(&second)), (1, 1));
                pools.reset(&first);
            }
        }
    }
}

#[tokio::test]
async fn a_stream_that_fails_after_its_content_says_so() {
    let pools = Pools::of(2, IN_ORDER).await;
    for call in [CHAT, RESPONSES, MESSAGES, GEMINI] {
        let after_events = call.openings + 1;
        let (first, second) = (first_key(&call), second_key(&call));
        let overloaded = Behaviour::OverloadedAfter { after_events };
        pools.provider.script(&first, [overloaded]);
        let answer = pools.post(call.path, call.body).await;
        assert_eq!(answer.status, 200);
        assert_eq!(events_of(answer.text()).len(), after_events + 1, "{call:?}");
        let last = events_of(answer.text())[after_events];
        assert!(tells_of_trouble(last), "{call:?}: {last}");
        assert_eq!((pools.billed(&first), pools.billed(&second)), (1, 0));
        pools.house.settled().await;
        // The next caller is spared it.
        assert!(!pools.is_well(&first));
        assert_eq!(pools.post(call.path, call.body).await.status, 200);
        assert_eq!((pools.billed(&first), pools.billed(&second)), (1, 1));
        pools.provider.take_calls();
        pools.reset(&first);
    }
}

// ── waiting ─────────────────────────────────────────────────────────────────────────────────────

/// One key, which is limited for `limit`.
async fn limited_for(limit: Duration, rest: &str) -> Pools {
    let pools = Pools::of(1, rest).await;
    run_into(limit, &pools).await;
    pools
}

/// Has a caller find out that the key is limited, and leave where it would wait.
async fn run_into(limit: Duration, pools: &Pools) {
    let limited = Behaviour::rate_limited(limit);
    pools.provider.script(&CLAUDE.key(1), [limited]);
    tokio::select! {
        _ = pools.ask(&CLAUDE) => {}
        () = pools.waiting(1) => {}
    }
    pools.house.settled().await;
    pools.provider.take_calls();
}

#[tokio::test]
async fn a_request_waits_for_the_key_that_is_soon_back() {
    let pools = limited_for(seconds(30), "max_retry_interval: 30").await;
    let key = CLAUDE.key(1);
    for stream in [false, true] {
        let call = async {
            match stream {
                true => pools.stream(&CLAUDE).await,
                false => pools.ask(&CLAUDE).await,
            }
        };
        let time = async {
            pools.waiting(1).await;
            pools.advance(seconds(30) - MILLISECOND);
            assert_eq!(pools.billed(&key), 0);
            pools.advance(MILLISECOND);
        };
        assert_whole(&CLAUDE, &futures::join!(call, time).0);
        assert_eq!(pools.billed(&key), 1);
        run_into(seconds(30), &pools).await;
    }
}

#[tokio::test]
async fn of_fifty_that_wait_one_tries_and_then_all_are_served() {
    let pools = limited_for(seconds(20), "max_retry_interval: 30").await;
    let key = CLAUDE.key(1);
    let limited = Behaviour::rate_limited(seconds(5));
    pools
        .provider
        .script(&key, [limited, Behaviour::held(Behaviour::Ok)]);
    let calls = join_all((0..50).map(|_| pools.ask(&CLAUDE)));
    let time = async {
        pools.waiting(50).await;
        pools.advance(seconds(20));
        // The one that tries is refused, and waited for no longer than the others.
        pools.provider.wait_for_calls(1).await;
        until(|| !pools.is_well(&key) && pools.cooldown(&key).until > pools.now()).await;
        pools.waiting(49).await;
        assert_eq!(pools.billed(&key), 1);
        pools.advance(seconds(5));
        pools.provider.wait_for_calls(2).await;
        pools.waiting(48).await;
        assert_eq!(pools.billed(&key), 2);
        pools.provider.gate(&key).release(1);
    };
    let (answers, ()) = futures::join!(calls, time);
    let served = answers.iter().filter(|answer| answer.status == 200);
    // It waited once: the one that tried in vain is told.
    assert_eq!(served.count(), 49);
    assert_eq!(pools.billed(&key), 50);
}

#[tokio::test]
async fn nobody_waits_longer_than_they_may() {
    let pools = limited_for(seconds(20), "max_retry_interval: 30").await;
    let key = CLAUDE.key(1);
    pools.provider.script(&key, [Behaviour::Hang]);
    let time = async {
        pools.waiting(2).await;
        pools.advance(seconds(20));
        pools.provider.wait_for_calls(1).await;
        pools.waiting(1).await;
        pools.advance(seconds(10));
    };
    let mut calls = [Box::pin(pools.ask(&CLAUDE)), Box::pin(pools.ask(&CLAUDE))];
    let [one, other] = &mut calls;
    let (answer, ()) = futures::join!(
        async {
            tokio::select! {
                answer = one => answer,
                answer = other => answer,
            }
        },
        time
    );
    assert_eq!(answer.status, 429);
    assert_eq!(pools.billed(&key), 1);
}

/// As shipped: three may be tried, and thirty seconds waited.
#[tokio::test]
async fn who_finds_out_that_all_are_limited_waits_too() {
    let pools = Pools::of(3, "max_retry_interval: 30\nmax_retry_credentials: 3").await;
    for n in 1..=3 {
        let limited = Behaviour::rate_limited(seconds(2));
        pools.provider.script(&CLAUDE.key(n), [limited]);
    }
    let time = async {
        pools.waiting(1).await;
        assert_eq!(pools.provider.count(), 3);
        pools.advance(seconds(2));
    };
    assert_whole(&CLAUDE, &futures::join!(pools.ask(&CLAUDE), time).0);
    assert_eq!(pools.provider.count(), 4);
}

/// It was billed once: nobody knows that another call would go better.
#[tokio::test]
async fn a_failure_that_cools_nothing_is_not_repeated_on_the_same_key() {
    let pools = Pools::of(
        2,
        "max_retry_interval: 30\nmax_retry_credentials: 3\nauth: {cooldown: {transient: -1}}",
    )
    .await;
    pools.always(&CLAUDE, &[1, 2], &Behaviour::CutBeforeHead);
    assert_eq!(pools.ask(&CLAUDE).await.status, 502);
    assert_eq!([1, 2].map(|n| pools.billed(&CLAUDE.key(n))), [1, 1]);
    // Nor is the other one waited for while it is there.
    pools.always(&CLAUDE, &[1], &Behaviour::server_error(500));
    let limited = Behaviour::rate_limited(seconds(5));
    pools.provider.script(&CLAUDE.key(2), [limited]);
    pools.provider.take_calls();
    assert!([429, 500].contains(&pools.ask(&CLAUDE).await.status));
    assert_eq!([1, 2].map(|n| pools.billed(&CLAUDE.key(n))), [1, 1]);
}

#[tokio::test]
async fn who_is_back_too_late_is_not_waited_for() {
    let pools = limited_for(seconds(31), "max_retry_interval: 30").await;
    let answer = pools.ask(&CLAUDE).await;
    assert_eq!(answer.status, 429);
    assert_eq!(answer.json()["error"]["reset_seconds"], 31);
    // A second later it is soon enough.
    pools.advance(seconds(1));
    let time = async {
        pools.waiting(1).await;
        pools.advance(seconds(30));
    };
    assert_whole(&CLAUDE, &futures::join!(pools.ask(&CLAUDE), time).0);
}

#[tokio::test]
async fn with_an_interval_of_nothing_nobody_waits() {
    let pools = limited_for(seconds(1), "max_retry_interval: 0").await;
    assert_eq!(pools.ask(&CLAUDE).await.status, 429);
    assert_eq!(pools.provider.count(), 0);
}

#[tokio::test]
async fn a_caller_that_leaves_while_it_waits_is_noticed() {
    let pools = limited_for(seconds(20), "max_retry_interval: 30").await;
    let gone =
        "turnpike_requests_total{operation=\"messages\",reason=\"client_gone\",status=\"499\"}";
    for http in [Http::One, Http::Two] {
        let before = pools.house.metric(gone);
        let mut caller = calls::Caller::connect(&pools.house, http).await;
        let request = caller.request(&CLAUDE.stream);
        tokio::select! {
            _ = caller.send(request) => panic!("it waits"),
            () = pools.waiting(1) => {}
        }
        caller.leave().await;
        until(|| pools.house.metric(gone) == before + 1.0).await;
        pools.waiting(0).await;
    }
    pools.advance(seconds(20));
    pools.house.settled().await;
    assert_eq!(pools.provider.count(), 0);
}

// ── other credentials and other models ──────────────────────────────────────────────────────────

#[tokio::test]
async fn a_spent_quota_may_be_told_at_once() {
    let rest = format!("{IN_ORDER}\nquota_exceeded: {{switch_project: false}}");
    let pools = Pools::of(2, &rest).await;
    let (first, second) = (CLAUDE.key(1), CLAUDE.key(2));
    for (behaviour, status, calls) in [
        (Behaviour::rate_limited(seconds(60)), 429, (1, 0)),
        (Behaviour::payment_required(), 503, (1, 0)),
        // Not for want of quota.
        (Behaviour::server_error(500), 200, (1, 1)),
        (Behaviour::unauthorized(), 200, (1, 1)),
    ] {
        pools.provider.script(&first, [behaviour.clone()]);
        let answer = pools.ask(&CLAUDE).await;
        assert_eq!(answer.status, status, "{behaviour:?}: {}", answer.text());
        assert_eq!(
            (pools.billed(&first), pools.billed(&second)),
            calls,
            "{behaviour:?}"
        );
        // The next request does not ask a key that cools.
        assert_whole(&CLAUDE, &pools.ask(&CLAUDE).await);
        assert_eq!(pools.billed(&first), 1);
        pools.provider.take_calls();
        pools.reset(&first);
    }
}

/// `gpt-4o` has a preview twin and two models to fall back to, each with a key of its own and a
/// name of its own at the provider. So has Gemini's.
async fn with_stand_ins(rest: &str) -> Pools {
    let provider =
        turnpike_loadtest::FakeProvider::start(turnpike_loadtest::Options::default()).await;
    let url = provider.base_url();
    let openai = |name: &str, models: &str| {
        format!(
            "  {name}: {{kind: openai, base_url: \"{url}/v1\", models: [{models}], credentials: [{{api_key: {name}-key}}]}}\n"
        )
    };
    let yaml = [
        server(rest),
        "providers:\n".to_owned(),
        openai("asked", "{name: gpt-4o, fallback: [small, other]}"),
        openai(
            "twin",
            "{name: gpt-4o-preview-2, alias: gpt-4o-preview, preview_of: gpt-4o}",
        ),
        openai("little", "{name: gpt-4o-mini, alias: small}"),
        openai("third", "{name: gpt-4.1, alias: other}"),
        format!(
            "  google: {{kind: gemini, base_url: \"{url}\", models: [{{name: gemini-2.5-pro, fallback: [flash]}}], credentials: [{{api_key: google-key}}]}}\n\
             \x20 flash: {{kind: gemini, base_url: \"{url}\", models: [{{name: gemini-2.5-flash, alias: flash}}], credentials: [{{api_key: flash-key}}]}}\n"
        ),
    ];
    Pools::before(provider, &yaml.concat()).await
}

/// The keys that were asked, and for which model, since this was asked last.
fn asked(pools: &Pools) -> Vec<(String, String)> {
    let calls = pools.provider.take_calls().into_iter();
    let model = |call: &turnpike_loadtest::Recorded| match call.json()["model"].as_str() {
        Some(model) => model.to_owned(),
        None => call.path_and_query.clone(),
    };
    calls.map(|call| (call.key.clone(), model(&call))).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |&(key, model): &(&str, &str)| (key.to_owned(), model.to_owned());
    expected.iter().map(owned).collect()
}

#[tokio::test]
async fn a_preview_twin_serves_only_for_want_of_quota() {
    let pools = with_stand_ins("").await;
    let twins = [("asked-key", "gpt-4o"), ("twin-key", "gpt-4o-preview-2")];
    for want in [
        Behaviour::rate_limited(seconds(60)),
        Behaviour::payment_required(),
    ] {
        pools.provider.script("asked-key", [want]);
        assert_whole(&OPENAI, &pools.ask(&OPENAI).await);
        assert_eq!(asked(&pools), pairs(&twins));
        // While it cools, nobody else is asked.
        assert_whole(&OPENAI, &pools.stream(&OPENAI).await);
        assert_eq!(asked(&pools), pairs(&twins[1..]));
        pools.reset("asked-key");
    }
    for other in [Behaviour::server_error(500), Behaviour::unauthorized()] {
        pools.provider.script("asked-key", [other]);
        assert_whole(&OPENAI, &pools.ask(&OPENAI).await);
        let fallen_back = [("asked-key", "gpt-4o"), ("little-key", "gpt-4o-mini")];
        assert_eq!(asked(&pools), pairs(&fallen_back));
        pools.reset("asked-key");
    }
}

#[tokio::test]
async fn a_preview_twin_may_be_switched_off() {
    let pools = with_stand_ins("quota_exceeded: {switch_preview_model: false}").await;
    let limited = Behaviour::rate_limited(seconds(60));
    pools.provider.script("asked-key", [limited]);
    assert_whole(&OPENAI, &pools.ask(&OPENAI).await);
    let fallen_back = [("asked-key", "gpt-4o"), ("little-key", "gpt-4o-mini")];
    assert_eq!(asked(&pools), pairs(&fallen_back));
}

#[tokio::test]
async fn fallbacks_serve_in_order_when_the_asked_model_cannot_be() {
    let pools = with_stand_ins("").await;
    let order = [
        ("asked-key", "gpt-4o"),
        ("little-key", "gpt-4o-mini"),
        ("third-key", "gpt-4.1"),
    ];
    let down = Behaviour::server_error(500);
    pools.provider.script("asked-key", [down.clone()]);
    pools.provider.script("little-key", [down.clone()]);
    assert_whole(&OPENAI, &pools.ask(&OPENAI).await);
    assert_eq!(asked(&pools), pairs(&order));
    assert_whole(&OPENAI, &pools.stream(&OPENAI).await);
    assert_eq!(asked(&pools), pairs(&order[2..]));
    // A fault of the caller's own is no reason to try another model.
    for key in ["asked-key", "little-key"] {
        pools.reset(key);
    }
    pools
        .provider
        .script("asked-key", [Behaviour::bad_request()]);
    assert_eq!(pools.ask(&OPENAI).await.status, 400);
    assert_eq!(asked(&pools), pairs(&order[..1]));
    // All down: the first model's pool says when it is back.
    for key in ["asked-key", "little-key", "third-key"] {
        pools.provider.script(key, [down.clone()]);
    }
    pools.ask(&OPENAI).await;
    assert_eq!(asked(&pools), pairs(&order));
    let answer = pools.ask(&OPENAI).await;
    assert_eq!(answer.status, 429);
    assert_eq!(answer.json()["error"]["model"], "gpt-4o");
    assert_eq!(asked(&pools), []);
}

#[tokio::test]
async fn a_fallback_is_asked_for_in_the_path_too() {
    let pools = with_stand_ins("").await;
    let down = Behaviour::server_error(500);
    pools.provider.script("google-key", [down]);
    assert_whole(&GOOGLE, &pools.ask(&GOOGLE).await);
    let paths = [
        (
            "google-key",
            "/v1beta/models/gemini-2.5-pro:generateContent",
        ),
        (
            "flash-key",
            "/v1beta/models/gemini-2.5-flash:generateContent",
        ),
    ];
    assert_eq!(asked(&pools), pairs(&paths));
}

#[tokio::test]
async fn a_fallback_serves_only_those_who_may_use_it() {
    let keys = format!(
        "api_keys: [{{key: {KEY}, models: [gpt-4o, other]}}, {{key: bare-key-0123456789, models: [gpt-4o]}}]"
    );
    let pools = with_stand_ins(&keys).await;
    pools
        .provider
        .always("asked-key", Behaviour::server_error(500));
    assert_whole(&OPENAI, &pools.ask(&OPENAI).await);
    let served = [("asked-key", "gpt-4o"), ("third-key", "gpt-4.1")];
    assert_eq!(asked(&pools), pairs(&served));
    let answer = with_key(&pools.house, "bare-key-0123456789").await;
    assert_eq!(answer.status, 429, "{}", answer.text());
    assert_eq!(asked(&pools), []);
}

async fn with_key(house: &House, key: &str) -> Answer {
    let mut client = Client::connect(house, Http::One).await;
    let bearer = format!("Bearer {key}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
    ];
    calls::post_with(&mut client, OPENAI.path, &headers, chat("gpt-4o")).await
}
