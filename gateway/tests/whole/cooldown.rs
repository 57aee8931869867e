//! What a failure costs: who is left alone, for how long, and how it comes back.

use std::time::Duration;

use futures::future::join_all;
use serde_json::json;
use turnpike_api::Fault;
use turnpike_loadtest::{Behaviour, FakeProvider, Options, gemini_quota_error};

use crate::binary::Binary;
use crate::calls;
use crate::harness::{Client, House, Http, chat, until};
use crate::pools::{
    CLAUDE, GOOGLE, OPENAI, Pools, SPEECHES, START, Speech, assert_whole, copy_files, seconds,
    server, yaml,
};

const MILLISECOND: Duration = Duration::from_millis(1);

// ── a limit ─────────────────────────────────────────────────────────────────────────────────────

/// 200 requests at once, half of them streams, over the three dialects.
async fn crowd(pools: &Pools) {
    let bursts = SPEECHES.map(|speech| pools.burst(speech, 67));
    for (speech, answers) in SPEECHES.into_iter().zip(join_all(bursts).await) {
        answers
            .iter()
            .for_each(|answer| assert_whole(speech, answer));
    }
    pools.house.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_notices_that_two_keys_of_three_are_limited() {
    let pools = Pools::of(3, "").await;
    let limited = Behaviour::rate_limited(seconds(30));
    for speech in SPEECHES {
        pools.always(speech, &[1, 2], &limited);
    }
    let asked = |pools: &Pools| {
        let keys = SPEECHES.map(|speech| [1, 2].map(|n| pools.billed(&speech.key(n))));
        pools.provider.take_calls();
        keys.concat()
    };
    // Cold: those that began before the first refusal came may all have gone there.
    crowd(&pools).await;
    assert!(asked(&pools).iter().all(|&calls| calls > 0));
    // None before its time.
    crowd(&pools).await;
    pools.advance(seconds(30) - MILLISECOND);
    crowd(&pools).await;
    assert_eq!(asked(&pools), [0; 6]);
    // After it one, which is refused: however many come at once.
    for _ in 0..2 {
        pools.advance(seconds(30));
        crowd(&pools).await;
        assert_eq!(asked(&pools), [1; 6]);
    }
    // And once one serves, all of it is over.
    for speech in SPEECHES {
        [1, 2]
            .iter()
            .for_each(|n| pools.provider.reset(&speech.key(*n)));
    }
    pools.advance(seconds(30));
    crowd(&pools).await;
    for speech in SPEECHES {
        assert!([1, 2].into_iter().all(|n| pools.is_well(&speech.key(n))));
    }
    pools.provider.take_calls();
    crowd(&pools).await;
    assert!(asked(&pools).iter().all(|&calls| calls >= 20));
}

#[tokio::test]
async fn windows_without_a_hint_double_up_to_the_longest() {
    let pools = Pools::of(1, "auth: {cooldown: {max: 6s}}").await;
    let key = CLAUDE.key(1);
    pools.always(&CLAUDE, &[1], &Behaviour::rate_limited_without_hint());
    for (level, window) in [1, 2, 4, 6, 6].into_iter().enumerate() {
        // A burst is one window.
        let answers = pools.burst(&CLAUDE, 8).await;
        assert!(answers.iter().all(|answer| answer.status == 429));
        if level > 0 {
            assert_eq!(pools.billed(&key), 1, "level {level}");
        }
        assert_eq!(pools.cools_for(&key), (Fault::RateLimited, window * 1000));
        assert_eq!(pools.cooldown(&key).level as usize, level);
        pools.provider.take_calls();
        pools.advance(seconds(window) - MILLISECOND);
        assert_eq!(pools.ask(&CLAUDE).await.status, 429);
        assert_eq!(pools.provider.count(), 0);
        pools.advance(MILLISECOND);
    }
    // A success is the end of it: the next window is a first one.
    pools.provider.script(&key, [Behaviour::Ok]);
    assert_whole(&CLAUDE, &pools.ask(&CLAUDE).await);
    pools.ask(&CLAUDE).await;
    assert_eq!(pools.cooldown(&key).level, 0);
}

#[tokio::test]
async fn a_call_that_began_before_a_probe_does_not_let_in_another_one() {
    let pools = Pools::of(1, "").await;
    let key = CLAUDE.key(1);
    let refused = Behaviour::rate_limited_without_hint();
    // The first call is late: the second is refused meanwhile, and the third tries again.
    let held = Behaviour::held(refused.clone());
    pools
        .provider
        .script(&key, [held, refused, Behaviour::held(Behaviour::Ok)]);
    let gate = pools.provider.gate(&key);
    let late = pools.ask(&CLAUDE);
    let others = async {
        pools.provider.wait_for_calls(1).await;
        assert_eq!(pools.ask(&CLAUDE).await.status, 429);
        pools.advance(seconds(1));
        let probe = pools.ask(&CLAUDE);
        let meanwhile = async {
            pools.provider.wait_for_calls(3).await;
            gate.release(1);
        };
        futures::join!(probe, meanwhile).0
    };
    let the_rest = async {
        pools.provider.wait_for_calls(3).await;
        // The late one is refused while the probe is under way. It is still the only one.
        until(|| pools.house.metric("turnpike_requests_in_flight") == 1.0).await;
        assert_eq!(pools.ask(&CLAUDE).await.status, 429);
        assert_eq!(pools.billed(&key), 3);
        gate.release(1);
    };
    let (late, probe, ()) = futures::join!(late, others, the_rest);
    assert_eq!((late.status, probe.status), (429, 200));
    assert!(pools.is_well(&key));
}

/// A refusal, and how long it keeps a key away: in milliseconds.
struct Told {
    speech: &'static Speech,
    behaviour: Behaviour,
    wait: u64,
    whole: bool,
}

fn told(speech: &'static Speech, wait: u64, headers: &[(&str, &str)]) -> Told {
    Told {
        speech,
        behaviour: Behaviour::status_with(429, headers),
        wait,
        whole: false,
    }
}

fn told_in_body(speech: &'static Speech, wait: u64, body: impl Into<bytes::Bytes>) -> Told {
    Told {
        behaviour: Behaviour::refusing(429, body),
        ..told(speech, wait, &[])
    }
}

/// Of a limit that is the account's.
fn told_of_account(speech: &'static Speech, wait: u64, body: String) -> Told {
    Told {
        whole: true,
        ..told_in_body(speech, wait, body)
    }
}

/// A key's or a subscription's limit of Anthropic's.
fn unified(wait: u64, reset: u64) -> Told {
    let at = (START / 1000 + reset).to_string();
    let headers = [
        ("anthropic-ratelimit-unified-status", "rejected"),
        (
            "anthropic-ratelimit-unified-representative-claim",
            "five_hour",
        ),
        ("anthropic-ratelimit-unified-5h-status", "rejected"),
        ("anthropic-ratelimit-unified-5h-reset", &at),
    ];
    Told {
        whole: true,
        ..told(&CLAUDE, wait, &headers)
    }
}

#[tokio::test]
async fn what_a_provider_says_of_the_time_is_kept_to() {
    const HOURS: u64 = 3_600_000;
    let pools = Pools::of(1, "").await;
    let resets_at = json!({"error": {"type": "usage_limit_reached", "message": "x",
        "resets_at": START / 1000 + 600}});
    let resets_in = json!({"error": {"type": "usage_limit_reached", "message": "x",
        "resets_in_seconds": 77}});
    let negative = json!({"error": {"type": "usage_limit_reached", "resets_in_seconds": -5}});
    let date = "Sun, 01 Mar 2026 00:01:30 GMT";
    let past = "Sat, 28 Feb 2026 23:00:00 GMT";
    let table = [
        told(&OPENAI, 20_000, &[("retry-after", "20")]),
        told(&OPENAI, 90_000, &[("retry-after", date)]),
        told(&OPENAI, 1_500, &[("retry-after-ms", "1500")]),
        told(&CLAUDE, 20_000, &[("retry-after", "20")]),
        told_of_account(&OPENAI, 600_000, resets_at.to_string()),
        told_of_account(&OPENAI, 77_000, resets_in.to_string()),
        told_in_body(
            &GOOGLE,
            37_500,
            gemini_quota_error(Duration::from_millis(37_500)),
        ),
        unified(4 * HOURS, 4 * 3_600),
        // Capped.
        unified(6 * HOURS, 5 * 24 * 3_600),
        told(&CLAUDE, 6 * HOURS, &[("retry-after", "99999999")]),
        // None at all, as if there were no hint.
        told(&CLAUDE, 1_000, &[("retry-after", "-5")]),
        told(&CLAUDE, 1_000, &[("retry-after", "soon")]),
        told_of_account(&OPENAI, 1_000, negative.to_string()),
        // At once, which is no time to stay away from what has just refused.
        told(&CLAUDE, 1_000, &[("retry-after", "0")]),
        told(&CLAUDE, 1_000, &[("retry-after", past)]),
    ];
    for (row, told) in table.into_iter().enumerate() {
        let key = told.speech.key(1);
        pools.provider.script(&key, [told.behaviour]);
        let answer = pools.ask(told.speech).await;
        assert_eq!(answer.status, 429, "row {row}: {}", answer.text());
        let wait = pools.cools_for(&key);
        assert_eq!(wait, (Fault::RateLimited, told.wait), "row {row}");
        let is_whole = pools.credential(&key).standing.cooldowns().whole.is_some();
        assert_eq!(is_whole, told.whole, "row {row}");
        pools.reset(&key);
    }
}

// ── what may be over sooner ─────────────────────────────────────────────────────────────────────

/// How keys fail in [`failing`], from the first on. The last one does not.
fn ailments() -> [Behaviour; 8] {
    [
        Behaviour::unauthorized(),
        Behaviour::forbidden(),
        Behaviour::not_found(),
        Behaviour::server_error(500),
        Behaviour::overloaded(),
        // These have their own time.
        Behaviour::rate_limited(seconds(3600)),
        Behaviour::rate_limited_without_hint(),
        Behaviour::payment_required(),
    ]
}

/// A pool of which every key but the last has failed once, each in its own way.
async fn failing() -> Pools {
    let pools = Pools::of(9, "auth: {selection_strategy: priority}").await;
    for (n, behaviour) in ailments().iter().enumerate() {
        pools.always(&CLAUDE, &[n + 1], behaviour);
    }
    pools.always(&CLAUDE, &[3], &Behaviour::refusing(404, NO_MODEL));
    assert_whole(&CLAUDE, &pools.ask(&CLAUDE).await);
    for n in 1..=8 {
        pools.cooldown(&CLAUDE.key(n));
    }
    pools.provider.take_calls();
    pools
}

const NO_MODEL: &str =
    r#"{"type":"error","error":{"type":"not_found_error","message":"model: claude-sonnet-4-5"}}"#;

/// Moves the clock on by a probe interval, and waits until all that is due was looked at.
async fn interval(pools: &Pools, due: usize) {
    let looked = |pools: &Pools| {
        let calls = pools.house.metrics();
        let probes = calls
            .lines()
            .filter(|line| line.starts_with("turnpike_credential_probes_total{"));
        let counts = probes.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        counts.sum::<f64>() as usize
    };
    let before = looked(pools);
    pools.advance(seconds(10));
    until(|| looked(pools) >= before + due).await;
    assert_eq!(looked(pools), before + due);
}

#[tokio::test]
async fn who_failed_is_looked_at_once_an_interval_and_who_is_limited_is_not() {
    let pools = failing().await;
    for _ in 0..3 {
        interval(&pools, 5).await;
        let looks = std::array::from_fn(|n| pools.looks(&CLAUDE.key(n + 1)));
        assert_eq!(looks, [1, 1, 1, 1, 1, 0, 0, 0, 0]);
        // Looking costs nothing: the only call that is billed serves. The short limit is over,
        // and is tried.
        assert_whole(&CLAUDE, &pools.ask(&CLAUDE).await);
        let billed = std::array::from_fn(|n| pools.billed(&CLAUDE.key(n + 1)));
        assert_eq!(billed, [0, 0, 0, 0, 0, 0, 1, 0, 1]);
        pools.provider.take_calls();
    }
}

#[tokio::test]
async fn who_is_well_again_is_back_within_an_interval() {
    let pools = failing().await;
    interval(&pools, 5).await;
    for n in 1..=8 {
        pools.provider.reset(&CLAUDE.key(n));
    }
    pools.provider.take_calls();
    interval(&pools, 5).await;
    // Each is tried by a call, one after the other, and so is the short limit, which is over.
    for n in [1, 2, 3, 4, 5, 7] {
        let key = CLAUDE.key(n);
        assert_eq!(pools.billed(&key), 0, "{key}");
        // Those before it are well, and would be asked first.
        let before: Vec<usize> = (1..n).collect();
        pools.always(&CLAUDE, &before, &Behaviour::unauthorized());
        assert_whole(&CLAUDE, &pools.ask(&CLAUDE).await);
        assert_eq!(pools.billed(&key), 1, "{key}");
        assert!(pools.is_well(&key), "{key}");
    }
    for n in [6, 8] {
        assert_eq!(pools.provider.calls_with(&CLAUDE.key(n)).len(), 0);
    }
}

#[tokio::test]
async fn a_provider_that_is_reached_again_is_back_within_an_interval() {
    let provider = FakeProvider::start(Options::default()).await;
    let (url, port) = (provider.base_url(), provider.addr().port());
    let yaml = format!(
        "{}providers: {{claude: {{base_url: \"{url}\", credentials: [{{api_key: sk-claude-1}}]}}}}\n",
        server("auth: {cooldown: {base: 40s}}")
    );
    let mut pools = Pools::before(FakeProvider::start(Options::default()).await, &yaml).await;
    provider.stop().await;
    assert_eq!(pools.ask(&CLAUDE).await.status, 502);
    let key = CLAUDE.key(1);
    assert_eq!(pools.cools_for(&key), (Fault::Unreachable, 40_000));
    interval(&pools, 1).await;
    assert_eq!(pools.ask(&CLAUDE).await.status, 429);
    pools.provider = FakeProvider::start(Options {
        port,
        ..Options::default()
    })
    .await;
    interval(&pools, 1).await;
    assert_whole(&CLAUDE, &pools.ask(&CLAUDE).await);
    assert_eq!((pools.looks(&key), pools.billed(&key)), (1, 1));
}

#[tokio::test]
async fn a_look_that_knows_no_better_is_believed_once() {
    let pools = Pools::of(2, "auth: {selection_strategy: priority}").await;
    let (deceptive, dead) = (CLAUDE.key(1), CLAUDE.key(2));
    pools.always(&CLAUDE, &[1, 2], &Behaviour::unauthorized());
    pools.provider.lists(&deceptive, Behaviour::Ok);
    assert_eq!(pools.ask(&CLAUDE).await.status, 429);
    pools.provider.take_calls();
    interval(&pools, 2).await;
    // Its list was good, so it is tried, by one call, and fails.
    for _ in 0..3 {
        assert_ne!(pools.ask(&CLAUDE).await.status, 200);
        assert_eq!((pools.looks(&deceptive), pools.billed(&deceptive)), (1, 1));
    }
    for _ in 0..3 {
        interval(&pools, 1).await;
    }
    pools.ask(&CLAUDE).await;
    assert_eq!((pools.looks(&deceptive), pools.billed(&deceptive)), (1, 1));
    assert_eq!((pools.looks(&dead), pools.billed(&dead)), (4, 0));
    // Now it waits for its time, which is no shorter for it.
    let (fault, left) = pools.cools_for(&deceptive);
    assert_eq!((fault, left), (Fault::Unauthorized, 1_800_000 - 30_000));
}

/// Lists may be long: they are asked for in one page.
#[tokio::test]
async fn a_model_that_was_not_found_is_tried_once_the_list_has_it() {
    let pools = Pools::of(1, "").await;
    let google = r#"{"error":{"code":404,"message":"models/gemini-2.5-pro is not found for API version v1beta","status":"NOT_FOUND"}}"#;
    for (speech, refusal, page) in [
        (&CLAUDE, NO_MODEL, "/v1/models?limit=1000"),
        (&GOOGLE, google, "/v1beta/models?pageSize=1000"),
    ] {
        let key = speech.key(1);
        let lists = |names: &str| {
            let list = format!("{{\"data\":[{names}],\"models\":[{names}]}}");
            pools.provider.lists(&key, Behaviour::refusing(200, list));
        };
        let not_found = Behaviour::refusing(404, refusal);
        pools.provider.script(&key, [not_found]);
        lists(r#"{"id":"another","name":"models/another"}"#);
        assert_eq!(pools.ask(speech).await.status, 404);
        assert_eq!(pools.cooldown(&key).fault, Fault::ModelNotFound);
        pools.provider.take_calls();
        interval(&pools, 1).await;
        let looks = pools.provider.calls_with(&key);
        assert_eq!(looks[0].path_and_query, page);
        assert_eq!(pools.ask(speech).await.status, 429);
        let model = speech.model;
        lists(&format!(
            "{{\"id\":\"{model}\",\"name\":\"models/{model}\"}}"
        ));
        interval(&pools, 1).await;
        assert_eq!(pools.billed(&key), 0);
        assert_whole(speech, &pools.ask(speech).await);
        assert!(pools.is_well(&key));
    }
}

#[tokio::test]
async fn a_hanging_look_does_not_delay_the_next_one() {
    let pools = Pools::of(1, "").await;
    let key = CLAUDE.key(1);
    pools.always(&CLAUDE, &[1], &Behaviour::server_error(500));
    pools.ask(&CLAUDE).await;
    pools.always(&CLAUDE, &[1], &Behaviour::Hang);
    pools.advance(seconds(10));
    until(|| pools.looks(&key) == 1).await;
    pools.provider.reset(&key);
    pools.advance(seconds(10));
    until(|| pools.looks(&key) == 2).await;
    until(|| pools.cooldown(&key).until <= pools.now()).await;
    assert_whole(&CLAUDE, &pools.ask(&CLAUDE).await);
}

// ── what a failure is about ─────────────────────────────────────────────────────────────────────

#[tokio::test]
async fn a_limit_is_of_its_model_and_a_bad_key_of_all() {
    let pools = Pools::of(1, "").await;
    let key = OPENAI.key(1);
    let no_credit = json!({"error": {"type": "insufficient_quota", "code": "insufficient_quota"}});
    for (behaviour, is_whole) in [
        (Behaviour::rate_limited(seconds(60)), false),
        (Behaviour::not_found(), false),
        (Behaviour::forbidden(), false),
        (Behaviour::server_error(500), false),
        (Behaviour::unauthorized(), true),
        (Behaviour::payment_required(), true),
        (Behaviour::refusing(429, no_credit.to_string()), true),
    ] {
        pools.provider.script(&key, [behaviour.clone()]);
        pools.ask(&OPENAI).await;
        pools.provider.take_calls();
        let other = pools.post(OPENAI.path, chat("gpt-4o-mini")).await;
        assert_eq!(other.status == 200, !is_whole, "{behaviour:?}");
        assert_ne!(pools.ask(&OPENAI).await.status, 200, "{behaviour:?}");
        let asked = usize::from(!is_whole);
        assert_eq!(pools.provider.count(), asked, "{behaviour:?}");
        pools.reset(&key);
    }
}

#[tokio::test]
async fn the_callers_own_faults_neither_cool_nor_rotate() {
    let pools = Pools::of(3, "").await;
    let too_long = r#"{"error":{"message":"too long","type":"invalid_request_error","code":"context_length_exceeded"}}"#;
    let no_file = r#"{"error":{"message":"No such File object: file-1","type":"invalid_request_error","code":null}}"#;
    let faults = [
        Behaviour::status(400),
        Behaviour::status(409),
        Behaviour::status(413),
        Behaviour::status(422),
        Behaviour::refusing(400, too_long),
        Behaviour::refusing(404, no_file),
    ];
    for speech in SPEECHES {
        for fault in &faults {
            pools.always(speech, &[1, 2, 3], fault);
            let Behaviour::Status { code, .. } = fault else {
                panic!("{fault:?}");
            };
            for answer in pools.burst(speech, 2).await {
                assert_eq!(answer.status, *code, "{}: {fault:?}", speech.provider);
            }
            assert_eq!(pools.provider.take_calls().len(), 2, "{fault:?}");
            for n in 1..=3 {
                assert!(pools.is_well(&speech.key(n)), "{fault:?}");
            }
        }
    }
    pools.always(&OPENAI, &[1, 2, 3], &Behaviour::refusing(404, no_file));
    let mut client = Client::connect(&pools.house, Http::One).await;
    let answer = calls::get(&mut client, "/v1/files/file-1").await;
    assert_eq!((answer.status, pools.provider.count()), (404, 1));
}

#[tokio::test]
async fn neither_callers_that_leave_nor_connections_that_break_cool() {
    let pools = Pools::of(1, "").await;
    let key = OPENAI.key(1);
    pools.always(&OPENAI, &[1], &Behaviour::Hang);
    let mut caller = calls::Caller::connect(&pools.house, Http::One).await;
    let request = caller.request(&OPENAI.stream);
    let left = async {
        pools.provider.wait_for_calls(1).await;
        pools.provider.calls()[0].id
    };
    let id = tokio::select! {
        _ = caller.send(request) => panic!("it hangs"),
        id = left => id,
    };
    caller.leave().await;
    pools.provider.closed_by_peer(id).await;
    pools.house.settled().await;
    assert!(pools.is_well(&key));
    for broken in [Behaviour::CutBeforeHead, Behaviour::CutBeforeRead] {
        pools.always(&OPENAI, &[1], &broken);
        for _ in 0..2 {
            assert_eq!(pools.ask(&OPENAI).await.status, 502, "{broken:?}");
            assert!(pools.is_well(&key), "{broken:?}");
        }
    }
    pools.provider.reset(&key);
    assert_whole(&OPENAI, &pools.ask(&OPENAI).await);
}

#[tokio::test]
async fn a_probe_whose_caller_leaves_is_not_the_last_one() {
    let pools = Pools::of(1, "").await;
    let key = OPENAI.key(1);
    let limited = Behaviour::rate_limited(seconds(5));
    pools.provider.script(&key, [limited, Behaviour::Hang]);
    pools.ask(&OPENAI).await;
    pools.advance(seconds(5));
    let mut caller = calls::Caller::connect(&pools.house, Http::One).await;
    let request = caller.request(&OPENAI.stream);
    let others = async {
        pools.provider.wait_for_calls(2).await;
        assert_eq!(pools.ask(&OPENAI).await.status, 429);
    };
    tokio::select! {
        _ = caller.send(request) => panic!("it hangs"),
        () = others => {}
    }
    caller.leave().await;
    pools.house.settled().await;
    assert_whole(&OPENAI, &pools.ask(&OPENAI).await);
    assert_eq!(pools.billed(&key), 3);
}

// ── the next process ────────────────────────────────────────────────────────────────────────────

#[tokio::test]
async fn cooldowns_and_their_levels_survive_a_restart() {
    let pools = Pools::of(2, "auth: {selection_strategy: priority}").await;
    pools.always(&CLAUDE, &[1], &Behaviour::rate_limited_without_hint());
    pools.always(&CLAUDE, &[2], &Behaviour::unauthorized());
    pools.ask(&CLAUDE).await;
    pools.advance(seconds(1));
    pools.ask(&CLAUDE).await;
    let before = [1, 2].map(|n| pools.cooldowns(&CLAUDE.key(n)));
    assert_eq!(before[0][0].1.level, 1);
    written(&pools).await;

    let pools = pools.restarted().await;
    assert_eq!([1, 2].map(|n| pools.cooldowns(&CLAUDE.key(n))), before);
    pools.provider.take_calls();
    assert_eq!(pools.ask(&CLAUDE).await.status, 429);
    assert_eq!(pools.provider.count(), 0);
    pools.advance(seconds(2));
    pools.ask(&CLAUDE).await;
    assert_eq!(pools.billed(&CLAUDE.key(1)), 1);
    assert_eq!(pools.cools_for(&CLAUDE.key(1)), (Fault::RateLimited, 4_000));
    // What is over is over for the next process, too.
    pools.provider.reset(&CLAUDE.key(1));
    pools.advance(seconds(4));
    assert_whole(&CLAUDE, &pools.ask(&CLAUDE).await);
    written(&pools).await;
    let pools = pools.restarted().await;
    assert!(pools.is_well(&CLAUDE.key(1)));
    assert!(!pools.is_well(&CLAUDE.key(2)));
}

/// A key that was changed while nothing ran serves no sentence of the old one.
#[tokio::test]
async fn a_key_that_was_changed_between_two_processes_begins_anew() {
    let yaml = |url: &str, key: &str| {
        let credential = format!("{{label: main, api_key: {key}}}");
        format!(
            "{}providers: {{claude: {{base_url: \"{url}\", credentials: [{credential}]}}}}\n",
            server("")
        )
    };
    let provider = FakeProvider::start(Options::default()).await;
    let url = provider.base_url();
    let pools = Pools::before(provider, &yaml(&url, "sk-claude-1")).await;
    pools.always(&CLAUDE, &[1], &Behaviour::unauthorized());
    pools.ask(&CLAUDE).await;
    written(&pools).await;
    let Pools {
        time,
        provider,
        house,
    } = pools;
    let (dir, _) = house.left().await;
    let house = House::serve_by(time.clone(), dir, &yaml(&url, "sk-claude-2")).await;
    let pools = Pools {
        time,
        provider,
        house,
    };
    assert_whole(&CLAUDE, &pools.ask(&CLAUDE).await);
    written(&pools).await;
    assert!(pools.is_well("sk-claude-2"));
}

/// A process that is killed has written down who cools.
#[tokio::test]
async fn cooldowns_survive_a_process_that_is_killed() {
    let provider = FakeProvider::start(Options::default()).await;
    let yaml = yaml(&provider.base_url(), 1, "");
    let mut binary = Binary::start(&yaml, &[]).await;
    let far = Behaviour::rate_limited(seconds(3600));
    provider.always(&CLAUDE.key(1), far);
    let mut client = binary.client(Http::One).await;
    let answer = client.post(CLAUDE.path, CLAUDE.body).await;
    assert_eq!(answer.status, 429);
    // It writes at once, beside the answer.
    until(|| binary.kept().contains(r#""fault":"rate_limited""#)).await;
    binary.kill().await;
    let left = tempfile::tempdir().unwrap();
    copy_files(binary.config.parent().unwrap(), left.path());
    let house = House::serve_in(left, &yaml).await;
    provider.take_calls();
    let mut client = Client::connect(&house, Http::One).await;
    let answer = client.post(CLAUDE.path, CLAUDE.body).await;
    assert_eq!(answer.status, 429);
    let left = answer.json()["error"]["reset_seconds"].as_u64().unwrap();
    assert!((3500..=3600).contains(&left), "{left}");
    assert_eq!(provider.count(), 0);
}

/// Waits until the store has the cooldowns as they are.
async fn written(pools: &Pools) {
    let runtime = &pools.house.gateway.runtime;
    let cooling = runtime.board.standings();
    let cooling = cooling.iter().filter(|one| !one.cooldowns().is_empty());
    let mut ids: Vec<&str> = cooling.map(|standing| &*standing.id).collect();
    ids.sort_unstable();
    loop {
        let kept = runtime.store.list("cooldown").await.unwrap();
        let kept_until = |record: &[u8]| String::from_utf8_lossy(record).into_owned();
        let up_to_date = kept.iter().all(|(id, record)| {
            let cooldowns = runtime.board.find(id).unwrap().cooldowns();
            let models = cooldowns.models.iter().map(|(_, cooldown)| cooldown);
            let mut all = models.chain(&cooldowns.whole);
            all.all(|one| kept_until(&record.value).contains(&one.until.to_string()))
        });
        if up_to_date && kept.iter().map(|(id, _)| id).eq(&ids) {
            return;
        }
        tokio::task::yield_now().await;
    }
}
