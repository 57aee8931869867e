//! Quotas of credentials that replicas share.

use std::time::Duration;

use futures::future::join_all;
use turnpike::upstream::Credential;
use turnpike::upstream::entry::{CredentialEntry, QuotaEntry};
use turnpike_api::Clock;
use turnpike_loadtest::Behaviour;

use super::server::Server;
use super::{Fleet, binary_of, openai};
use crate::calls::{get_with, post_with};
use crate::harness::{Answer, Client, Http, KEY, PATIENCE, until};
use crate::pools::OPENAI;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(2);

/// Who manages.
const ADMIN: &str = "key-of-the-operators-0123456789";

/// What a call uses, by the provider's word: hardly more than is expected of it, so that the last one
/// fits.
pub(super) const CALL: u64 = 560;

/// Credentials, each with a quota of so many calls, and the section that lets an operator in.
fn quotas(calls: &[u64], rest: &str) -> String {
    let credential = |(n, calls): (usize, &u64)| {
        let limit = calls * CALL;
        format!("{{api_key: sk-openai-{n}, label: \"{n}\", quota: {{limit: {limit}}}}}")
    };
    let credentials: Vec<String> = (1..).zip(calls).map(credential).collect();
    let admin =
        format!("admin: {{port: 0, keys: [{{name: ops, key: {ADMIN}, scopes: [\"admin:*\"]}}]}}\n");
    format!("{admin}{rest}{}", openai(&credentials.join(", ")))
}

/// Every answer says that it used the same.
pub(super) fn answers_alike(fleet: &Fleet, credentials: usize) {
    let answer = r#"{"id":"x","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"Hello"},"finish_reason":"stop"}],"usage":{"prompt_tokens":60,"completion_tokens":500,"total_tokens":560}}"#;
    for n in 1..=credentials {
        let same = Behaviour::Body {
            content_type: "application/json".to_owned(),
            bytes: answer.into(),
            chunked: false,
        };
        fleet.provider.always(&key(n), same);
    }
}

pub(super) fn key(n: usize) -> String {
    format!("sk-openai-{n}")
}

impl Fleet {
    /// What a replica shows of a credential's quota.
    fn quota(&self, at: usize, n: usize) -> QuotaEntry {
        let runtime = &self.houses[at].gateway.runtime;
        let snapshot = runtime.snapshot();
        let id = format!("openai/{n}");
        let mut roll = snapshot.roll.iter();
        let enrolled = roll.find(|enrolled| *enrolled.id == *id).unwrap();
        CredentialEntry::new(enrolled, self.time.now())
            .quota
            .unwrap()
    }

    /// Until all show that so many calls were counted of it.
    async fn until_all_show(&self, n: usize, calls: u64) {
        let shown = || -> Vec<u64> {
            let replicas = 0..self.houses.len();
            replicas.map(|at| self.quota(at, n).used).collect()
        };
        let all_show = async {
            while shown().iter().any(|used| *used != calls * CALL) {
                tokio::time::sleep(PAUSE).await;
            }
        };
        let told = tokio::time::timeout(PATIENCE, all_show).await;
        assert!(told.is_ok(), "{:?}, not {}", shown(), calls * CALL);
    }

    /// An operator asks a replica.
    async fn reset(&self, at: usize) -> Answer {
        let admin = tokio::net::TcpStream::connect(self.houses[at].gateway.admin).await;
        let mut client = Client::on(admin.unwrap(), Http::One).await;
        let bearer = format!("Bearer {ADMIN}");
        let headers = [("authorization", &*bearer)];
        post_with(&mut client, "/v0/management/reset-quota", &headers, "{}").await
    }

    fn calls_of(&self, n: usize) -> u64 {
        self.provider.calls_with(&key(n)).len() as u64
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_replica_used_all_show() {
    let fleet = Fleet::of(3, &quotas(&[1_000], "")).await;
    answers_alike(&fleet, 1);
    for (calls, at) in [(1, 0), (2, 1), (3, 1), (4, 2)] {
        assert_eq!(fleet.chat(at).await.status, 200);
        fleet.until_all_show(1, calls).await;
    }
    let quota = fleet.quota(0, 1);
    assert_eq!(quota.remaining, Some(996 * CALL));
}

/// Replicas that hammer one quota spend it once, and to the last call that fits.
#[tokio::test(flavor = "multi_thread")]
async fn a_quota_is_spent_once() {
    let fleet = Fleet::of(3, &quotas(&[60], "")).await;
    answers_alike(&fleet, 1);
    let caller = async |at: usize| {
        let mut served = 0;
        for _ in 0..40 {
            let answer = fleet.chat(at).await;
            assert!([200, 429].contains(&answer.status), "{}", answer.text());
            served += u64::from(answer.status == 200);
        }
        served
    };
    let served: u64 = join_all([0, 1, 2, 0, 1, 2].map(caller))
        .await
        .into_iter()
        .sum();
    assert!(served <= 60, "{served}");
    // What one holds ahead of need goes back by and by; of the last calls, each may need more than it
    // turns out to.
    let rest = async {
        let mut served = served;
        while served < 57 {
            for at in 0..3 {
                served += u64::from(fleet.chat(at).await.status == 200);
            }
        }
        served
    };
    let rest = tokio::time::timeout(PATIENCE, rest).await;
    rest.expect("nearly all of it is used");
    for at in 0..3 {
        let refused = fleet.until_answered(at, KEY, 429).await;
        assert!(
            refused.json()["error"]["reset_time"].is_string(),
            "{}",
            refused.text()
        );
        assert_eq!(refused.json()["error"]["code"], "model_cooldown");
    }
    let calls = fleet.calls_of(1);
    assert!(calls <= 60, "{calls}");
    fleet.until_all_show(1, calls).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_on_one_replica_is_one_on_all() {
    let fleet = Fleet::of(2, &quotas(&[12], "")).await;
    answers_alike(&fleet, 1);
    let mut before = 0;
    for round in 1..=2 {
        for at in 0..2 {
            fleet.until_answered(at, KEY, 429).await;
        }
        let calls = fleet.calls_of(1);
        assert!((8..=12).contains(&(calls - before)), "{calls}, {before}");
        fleet.until_all_show(1, calls - before).await;
        before = calls;
        // By both at once, it is one.
        let resets = join_all([fleet.reset(round % 2), fleet.reset(1)]).await;
        for reset in resets {
            assert_eq!(reset.status, 200, "{}", reset.text());
        }
        fleet.until_all_show(1, 0).await;
    }
    // Who comes later knows of it.
    let late = fleet.another(&quotas(&[12], "")).await;
    let credential = |house: &crate::harness::House| -> std::sync::Arc<Credential> {
        house
            .gateway
            .runtime
            .snapshot()
            .usable()
            .next()
            .unwrap()
            .clone()
    };
    until(|| credential(&late).standing.allowance.spent() == 0).await;
    fleet.until_answered(0, KEY, 200).await;
    until(|| credential(&late).standing.allowance.spent() == CALL).await;
}

/// What replicas know of quotas and of resets, a Redis that lost it is told again.
#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_starts_empty_is_told_again() {
    let mut fleet = Fleet::of(2, &quotas(&[40], "")).await;
    answers_alike(&fleet, 1);
    for at in (0..2).cycle().take(6) {
        fleet.until_answered(at, KEY, 200).await;
    }
    let calls = fleet.calls_of(1);
    fleet.until_all_show(1, calls).await;
    assert_eq!(fleet.reset(0).await.status, 200);
    fleet.until_all_show(1, 0).await;
    for at in [0, 1, 1] {
        fleet.until_answered(at, KEY, 200).await;
    }
    fleet.until_all_show(1, 3).await;
    fleet.redis.kill();
    fleet.redis.wipe();
    fleet.redis.start();
    let told = || {
        fleet
            .redis
            .ask(&["EXISTS", "tp1:1:{quota}:record:openai/1"])
            == "1"
    };
    until(told).await;
    fleet.until_all_show(1, 3).await;
    let late = fleet.another(&quotas(&[40], "")).await;
    let shown = |house: &crate::harness::House| {
        let snapshot = house.gateway.runtime.snapshot();
        snapshot.usable().next().unwrap().standing.allowance.spent()
    };
    until(|| shown(&late) == 3 * CALL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fleets_remainder_ranks() {
    let rest = "auth: {selection_strategy: quota_aware}\n";
    let fleet = Fleet::of(2, &quotas(&[100, 90], rest)).await;
    answers_alike(&fleet, 2);
    // A caller has its answer before what it used is counted, which is what the next one is ranked by.
    let settled = async |at: usize| {
        assert_eq!(fleet.chat(at).await.status, 200);
        let in_flight = || fleet.houses[at].metric("turnpike_requests_in_flight");
        until(|| in_flight() == 0.0).await;
    };
    // The first replica evens them out; the second one knows.
    for _ in 0..20 {
        settled(0).await;
    }
    let (first, second) = (fleet.calls_of(1), fleet.calls_of(2));
    assert!(first.abs_diff(second + 10) <= 1, "{first} {second}");
    fleet.until_all_show(1, first).await;
    fleet.until_all_show(2, second).await;
    for _ in 0..20 {
        settled(1).await;
    }
    let (first, second) = (fleet.calls_of(1), fleet.calls_of(2));
    assert!(first.abs_diff(second + 10) <= 1, "{first} {second}");
}

/// `fill_first` stays with the same credential on all replicas, and leaves it when the fleet has spent it.
#[tokio::test(flavor = "multi_thread")]
async fn replicas_fill_the_same_credential_first() {
    let rest = "auth: {selection_strategy: fill_first}\n";
    let fleet = Fleet::of(3, &quotas(&[90, 1_000], rest)).await;
    answers_alike(&fleet, 2);
    for at in (0..3).cycle().take(45) {
        assert_eq!(fleet.chat(at).await.status, 200);
    }
    assert_eq!((fleet.calls_of(1), fleet.calls_of(2)), (45, 0));
    let exhausted = async {
        let mut calls = 45;
        for at in (0..3).cycle() {
            assert_eq!(fleet.chat(at).await.status, 200);
            calls += 1;
            assert_eq!(fleet.calls_of(1) + fleet.calls_of(2), calls);
            if fleet.calls_of(2) >= 30 {
                return;
            }
        }
    };
    let exhausted = tokio::time::timeout(PATIENCE, exhausted).await;
    exhausted.expect("it is spent for all");
    assert!(
        (75..=90).contains(&fleet.calls_of(1)),
        "{}",
        fleet.calls_of(1)
    );
    // None goes back to it: a cooldown of the second one is one on all, too.
    fleet
        .provider
        .script(&key(2), [Behaviour::rate_limited(Duration::from_secs(30))]);
    assert_eq!(fleet.until_answered(0, KEY, 429).await.status, 429);
    for at in 0..3 {
        fleet.until_answered(at, KEY, 429).await;
    }
}

/// A replica that is killed loses nothing that its Redis has heard of.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_replica_used_stays_used() {
    let fleet = Fleet::of(1, &quotas(&[40], "")).await;
    answers_alike(&fleet, 1);
    let killed = binary_of(&fleet, &quotas(&[40], "")).await;
    let mut client = killed.client(Http::One).await;
    for _ in 0..10 {
        assert_eq!(client.post(OPENAI.path, OPENAI.body).await.status, 200);
    }
    fleet.until_all_show(1, 10).await;
    killed.signal("-KILL").await;
    let mut served = 0;
    while fleet.chat(0).await.status == 200 {
        served += 1;
    }
    // What the other one held when it was killed counts as used: a second's worth of its calls, and no
    // more than a quarter of the limit.
    assert!((20..=30).contains(&served), "{served}");
}

/// While replicas cannot agree, each goes on with its share; afterwards all is counted.
#[tokio::test(flavor = "multi_thread")]
async fn without_its_redis_each_spends_its_share() {
    let fleet = Fleet::hasty(2, Server::running(), &quotas(&[20], "")).await;
    answers_alike(&fleet, 1);
    until(|| {
        let mut houses = fleet.houses.iter();
        houses.all(|house| house.gateway.runtime.limits.replicas() == 2)
    })
    .await;
    fleet.redis.signal("STOP");
    let mut served = 0;
    for at in [0, 1] {
        let refused = loop {
            let answer = fleet.chat(at).await;
            if answer.status != 200 {
                break answer;
            }
            served += 1;
        };
        assert!([429, 503].contains(&refused.status), "{}", refused.text());
    }
    assert!((1..=20).contains(&served), "{served}");
    fleet.redis.signal("CONT");
    fleet.until_all_show(1, served).await;
}

/// Far from its end, a quota costs hardly any round trips.
#[tokio::test(flavor = "multi_thread")]
async fn far_from_its_end_a_quota_costs_few_draws() {
    let fleet = Fleet::of(2, &quotas(&[1_000_000], "")).await;
    answers_alike(&fleet, 1);
    // Until they know their pace.
    join_all((0..8).map(|n| caller(&fleet, n % 2, 50))).await;
    let before = scripts(&fleet);
    let began = tokio::time::Instant::now();
    let calls = join_all((0..8).map(|n| caller(&fleet, n % 2, 250))).await;
    let calls: u64 = calls.into_iter().sum();
    // However many calls there are: four times a second each replica says that it lives and draws. Ten
    // times a second it may tell what it used, and reads what it and the other one told, for which it
    // says again that it lives, and draws.
    let elapsed = began.elapsed().as_millis() as u64;
    let by_time = 2 * (2 * (elapsed / 250 + 2) + 5 * (elapsed / 100 + 2));
    let drawn = (scripts(&fleet) - before).saturating_sub(by_time);
    assert!(drawn * 50 <= calls, "{drawn} scripts for {calls} calls");
}

async fn caller(fleet: &Fleet, at: usize, calls: u64) -> u64 {
    let mut client = Client::connect(&fleet.houses[at], Http::One).await;
    for _ in 0..calls {
        assert_eq!(client.post(OPENAI.path, OPENAI.body).await.status, 200);
    }
    calls
}

/// How many scripts the Redis has run.
fn scripts(fleet: &Fleet) -> u64 {
    let info = fleet.redis.ask(&["INFO", "commandstats"]);
    let mut lines = info.lines();
    let line = lines.find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
    line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_management_api_of_any_replica_shows_it() {
    let fleet = Fleet::of(2, &quotas(&[10], "")).await;
    answers_alike(&fleet, 1);
    assert_eq!(fleet.chat(0).await.status, 200);
    fleet.until_all_show(1, 1).await;
    for at in [0, 1] {
        let admin = tokio::net::TcpStream::connect(fleet.houses[at].gateway.admin).await;
        let mut client = Client::on(admin.unwrap(), Http::One).await;
        let bearer = format!("Bearer {ADMIN}");
        let headers = [("authorization", &*bearer)];
        let path = "/v0/management/auths/openai/quota";
        let answer = get_with(&mut client, path, &headers).await;
        let quota = answer.json();
        assert_eq!(quota["used"], CALL, "{}", answer.text());
        assert_eq!(quota["remaining"], 9 * CALL);
    }
}
