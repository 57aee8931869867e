//! Sessions that keep to a credential, whichever replica their calls come to; and turns that replicas
//! take apart.

use std::collections::BTreeMap;

use turnpike_loadtest::Behaviour;

use super::server::Server;
use super::{Fleet, openai};
use crate::calls::post_with;
use crate::harness::{Client, Http, KEY, until};
use crate::pools::{OPENAI, seconds};

/// So many credentials, and sessions that keep to theirs.
fn affinity(credentials: usize) -> String {
    format!(
        "auth: {{session_affinity: {{enabled: true, ttl: 1h}}}}\n{}",
        keys(credentials)
    )
}

fn keys(credentials: usize) -> String {
    let credential = |n| format!("{{api_key: sk-openai-{n}, label: \"{n}\"}}");
    let credentials: Vec<String> = (1..=credentials).map(credential).collect();
    openai(&credentials.join(", "))
}

impl Fleet {
    /// A session's call at a replica; the key that served it.
    async fn of_session(&self, at: usize, session: &str) -> String {
        let mut client = Client::connect(&self.houses[at], Http::One).await;
        let bearer = format!("Bearer {KEY}");
        let headers = [("authorization", &*bearer), ("x-session-id", session)];
        let answer = post_with(&mut client, OPENAI.path, &headers, OPENAI.body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        self.provider.calls().last().unwrap().key.clone()
    }

    /// Waits until the Redis knows so many sessions.
    async fn until_told(&self, sessions: usize) {
        until(|| self.redis.ask(&["ZCARD", "tp1:1:{affinity}:index"]) == sessions.to_string())
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_keeps_to_its_credential_on_all_replicas() {
    let fleet = Fleet::of(3, &affinity(8)).await;
    for session in 0..6 {
        let name = format!("s{session}");
        let first = fleet.of_session(session % 3, &name).await;
        fleet.until_told(session + 1).await;
        for at in [0, 1, 2, 0] {
            assert_eq!(fleet.of_session(at, &name).await, first, "{name} on {at}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_moved_has_moved_on_all_replicas() {
    let fleet = Fleet::of(2, &affinity(4)).await;
    let first = fleet.of_session(0, "s").await;
    fleet.until_told(1).await;
    assert_eq!(fleet.of_session(1, "s").await, first);
    let limited = Behaviour::rate_limited(seconds(5));
    fleet.provider.script(&first, [limited]);
    let second = fleet.of_session(1, "s").await;
    assert_ne!(second, first);
    // The first replica hears of it: when the credential is well again, the session stays away.
    let session = only_session(&fleet);
    let known = || {
        let runtime = &fleet.houses[0].gateway.runtime;
        let now = turnpike_api::Clock::now(&runtime.board.time);
        runtime.affinity.find(session, now, u64::MAX)
    };
    let id = |key: &str| format!("openai/{}", key.rsplit('-').next().unwrap());
    until(|| known().as_deref() == Some(&*id(&second))).await;
    fleet.time.advance(seconds(60));
    for at in [0, 1, 0, 1] {
        assert_eq!(fleet.of_session(at, "s").await, second, "on {at}");
    }
}

/// The session that the Redis knows, of one.
fn only_session(fleet: &Fleet) -> u128 {
    let key = "return redis.call('ZRANGE', 'tp1:1:{affinity}:index', 0, 0)[1]";
    u128::from_str_radix(&fleet.redis.ask(&["EVAL", key, "0"]), 16).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_known_asks_nobody() {
    let fleet = Fleet::of(2, &affinity(4)).await;
    let first = fleet.of_session(0, "s").await;
    fleet.until_told(1).await;
    assert_eq!(fleet.of_session(1, "s").await, first);
    // From here on it may stop answering.
    fleet.redis.signal("STOP");
    for at in (0..2).cycle().take(20) {
        assert_eq!(fleet.of_session(at, "s").await, first);
    }
    fleet.redis.signal("CONT");
}

/// Each replica keeps to its own, and nobody hangs; what was learnt meanwhile is told afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn without_its_redis_sessions_are_each_replicas_own() {
    let mut fleet = Fleet::hasty(2, Server::absent(), &affinity(4)).await;
    for at in [0, 1] {
        fleet.until_degraded(at, |why| why.is_some()).await;
    }
    let first = fleet.of_session(0, "s").await;
    assert_eq!(fleet.of_session(0, "s").await, first);
    fleet.redis.start();
    fleet.until_told(1).await;
    assert_eq!(fleet.of_session(1, "s").await, first);
}

/// Replicas take turns of their own, each from another place: what the fleet asks of its credentials
/// differs by no more than there are replicas.
#[tokio::test(flavor = "multi_thread")]
async fn the_fleets_shares_are_even() {
    let fleet = Fleet::of(3, &keys(5)).await;
    for at in (0..3).cycle().take(60) {
        assert_eq!(fleet.chat(at).await.status, 200);
        let mut shares: BTreeMap<String, usize> =
            (1..=5).map(|n| (format!("sk-openai-{n}"), 0)).collect();
        for call in fleet.provider.calls() {
            *shares.entry(call.key).or_default() += 1;
        }
        let most = shares.values().max().unwrap();
        let least = shares.values().min().unwrap();
        assert!(most - least <= 3, "{shares:?}");
    }
}

/// A fleet that has just started does not begin with the same credential on all replicas.
#[tokio::test(flavor = "multi_thread")]
async fn replicas_begin_anywhere() {
    let fleet = Fleet::of(8, &keys(64)).await;
    for at in 0..8 {
        assert_eq!(fleet.chat(at).await.status, 200);
    }
    let mut keys: Vec<String> = fleet
        .provider
        .calls()
        .into_iter()
        .map(|call| call.key)
        .collect();
    keys.sort();
    keys.dedup();
    // All eight on one of 64: once in 64^7.
    assert!(keys.len() > 1, "{keys:?}");
}
