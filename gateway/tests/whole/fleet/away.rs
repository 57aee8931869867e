//! What happens to the replicas while something happens to their Redis.

use turnpike_loadtest::FakeProvider;

use super::server::Server;
use super::{Fleet, UPSTREAM, state};
use crate::canary;
use crate::harness::{KEY, until};
use crate::pools::seconds;
use turnpike_loadtest::Behaviour;

/// A fleet whose replicas know an agent token; what is known counts for two seconds.
async fn knowing(replicas: usize) -> (Fleet, String) {
    let redis = Server::running();
    let brief = state(&redis, "deadline: 50ms", ", max_stale: 2s");
    let fleet = Fleet::hasty(replicas, redis, &format!("state: {brief}")).await;
    let token = fleet.token(0).await.token.expose().to_owned();
    for at in 0..replicas {
        fleet.until_answered(at, &token, 200).await;
    }
    (fleet, token)
}

/// Tokens end up unknown, which is told; everybody else is served all the while.
async fn runs_stale(fleet: &Fleet, at: usize, token: &str) {
    let answer = fleet.until_answered(at, token, 503).await;
    assert!(
        answer.text().contains("storage_unavailable"),
        "{}",
        answer.text()
    );
    assert!(!answer.text().contains("/auth/"), "{}", answer.text());
    assert_eq!(
        fleet.chat(at).await.status,
        200,
        "a key of the configuration"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn absent_at_the_start() {
    let mut fleet = Fleet::hasty(2, Server::absent(), "").await;
    for at in [0, 1] {
        assert_eq!(fleet.chat(at).await.status, 200);
        let why = fleet.degraded(at).await.unwrap();
        assert!(why.contains("cannot be reached"), "{why}");
        // It may be a token of somebody.
        let token = format!("tp-{}.{}", "a".repeat(16), "A".repeat(43));
        let answer = fleet.ask(at, &token).await;
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert!(
            answer.text().contains("storage_unavailable"),
            "{}",
            answer.text()
        );
    }
    fleet.redis.start();
    for at in [0, 1] {
        fleet.until_degraded(at, |why| why.is_none()).await;
    }
    let token = fleet.token(1).await;
    fleet.until_answered(0, token.token.expose(), 200).await;
}

/// Nobody is let in for want of knowing better: there may be agent tokens.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_without_keys_is_not_open_while_it_is_absent() {
    let redis = Server::absent();
    let provider = FakeProvider::start(turnpike_loadtest::Options::default()).await;
    let yaml = super::yaml(&redis, &provider, "deadline: 50ms", "");
    let keyless = yaml.replace(&format!("api_keys: [{{key: {KEY}, name: tests}}]\n"), "");
    assert_ne!(yaml, keyless);
    let house = crate::harness::House::serve(&keyless).await;
    let mut client = crate::harness::Client::connect(&house, crate::harness::Http::One).await;
    let answer = crate::calls::post_with(
        &mut client,
        crate::pools::OPENAI.path,
        &[],
        crate::pools::OPENAI.body,
    )
    .await;
    assert_eq!(answer.status, 401, "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn frozen() {
    let (fleet, token) = knowing(2).await;
    fleet.redis.signal("STOP");
    fleet
        .until_degraded(1, |why| {
            why.is_some_and(|why| why.contains("gave no answer"))
        })
        .await;
    runs_stale(&fleet, 0, &token).await;
    runs_stale(&fleet, 1, &token).await;
    fleet.redis.signal("CONT");
    for at in [0, 1] {
        fleet.until_answered(at, &token, 200).await;
        fleet.until_degraded(at, |why| why.is_none()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_and_started_with_what_it_kept() {
    let (mut fleet, token) = knowing(2).await;
    fleet.redis.kill();
    runs_stale(&fleet, 0, &token).await;
    runs_stale(&fleet, 1, &token).await;
    for house in &fleet.houses {
        // For as long as it lasts, not once: the alert asks for their rate.
        let failed =
            |what| house.metric(&format!("turnpike_store_errors_total{{what=\"{what}\"}}"));
        until(|| failed("news") >= 5.0 && failed("limits") >= 2.0).await;
    }
    fleet.redis.start();
    for at in [0, 1] {
        fleet.until_answered(at, &token, 200).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_and_started_empty() {
    let (mut fleet, token) = knowing(2).await;
    let limited = Behaviour::rate_limited(seconds(3000));
    fleet.provider.script(UPSTREAM, [limited]);
    assert_eq!(fleet.chat(0).await.status, 429);
    let is_kept = || {
        fleet
            .redis
            .ask(&["EXISTS", "tp1:1:{cooldown}:record:openai/main"])
            == "1"
    };
    until(is_kept).await;
    fleet.redis.kill();
    fleet.redis.wipe();
    fleet.redis.start();
    // Who is not known any more is not let in.
    for at in [0, 1] {
        fleet.until_answered(at, &token, 401).await;
    }
    // What the replicas know of credentials, they tell it again.
    let is_kept = || {
        fleet
            .redis
            .ask(&["EXISTS", "tp1:1:{cooldown}:record:openai/main"])
            == "1"
    };
    until(is_kept).await;
    for at in [0, 1] {
        fleet.until_answered(at, KEY, 429).await;
    }
    assert_eq!(
        fleet.redis.ask(&["EXISTS", "tp1:1:{agent_token}:index"]),
        "0"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn made_a_replica() {
    let (fleet, token) = knowing(1).await;
    fleet.redis.ask(&["REPLICAOF", "127.0.0.1", "1"]);
    fleet
        .until_degraded(0, |why| why.is_some_and(|why| why.contains("is a replica")))
        .await;
    fleet.redis.ask(&["REPLICAOF", "NO", "ONE"]);
    fleet.until_degraded(0, |why| why.is_none()).await;
    fleet.until_answered(0, &token, 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_nodes() {
    for (how, told) in [
        (
            "mode: sentinel, nodes: [\"127.0.0.1:1\"], master_name: main",
            "no sentinel of 127.0.0.1:1 knows the master `main`",
        ),
        (
            "mode: cluster, nodes: [\"127.0.0.1:1\"]",
            "redis at cluster 127.0.0.1:1 cannot be reached",
        ),
    ] {
        let absent = Server::absent();
        let url = format!("url: \"{}\"", absent.url());
        let redis = state(&absent, how, "").replace(&url, "url: \"redis://nodes/0\"");
        let fleet = Fleet::hasty(1, absent, &format!("state: {redis}")).await;
        let why = fleet.degraded(0).await.unwrap();
        assert!(why.contains(told), "{why}");
        assert_eq!(fleet.chat(0).await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password() {
    let redis = Server::running();
    redis.ask(&[
        "ACL",
        "SETUSER",
        "gateway",
        "on",
        ">the-right-CANARY-word",
        "~*",
        "+@all",
    ]);
    let how =
        "deadline: 10s, connect_timeout: 20s, username: gateway, password: the-wrong-CANARY-word";
    let fleet = Fleet::with(1, redis, how, "").await;
    let why = fleet.degraded(0).await.unwrap();
    assert!(why.contains("does not accept the login"), "{why}");
    assert!(why.contains("state.redis.password"), "{why}");
    assert_eq!(fleet.chat(0).await.status, 200);
    // Mended where it is wrong, and without a restart.
    fleet
        .redis
        .ask(&["ACL", "SETUSER", "gateway", ">the-wrong-CANARY-word"]);
    fleet.until_degraded(0, |why| why.is_none()).await;
    canary::left("what /ready says", why.as_bytes());
}
