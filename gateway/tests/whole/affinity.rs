//! A session keeps to its credential while that can serve.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use turnpike_loadtest::Behaviour;

use crate::harness::{Answer, Client, Http};
use crate::pools::{CLAUDE, OPENAI, Pools};

const ON: &str = "auth: {session_affinity: {enabled: true, ttl: 1h}}";

/// A call of a session; the key that served it.
async fn served_by(pools: &Pools, headers: &[(&str, &str)], body: &str) -> String {
    let mut client = Client::connect(&pools.house, Http::One).await;
    let mut request: Request<Full<Bytes>> = client.request(OPENAI.path, body.to_owned());
    for (name, value) in headers {
        let name = http::HeaderName::try_from(*name).unwrap();
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    let answer = Answer::read(client.send(request).await.unwrap()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    pools.provider.calls().last().unwrap().key.clone()
}

async fn of_session(pools: &Pools, session: &str) -> String {
    served_by(pools, &[("x-session-id", session)], OPENAI.body).await
}

#[tokio::test]
async fn a_session_keeps_to_one_key_however_it_is_named() {
    let pools = Pools::of(4, ON).await;
    let in_body = |fields: &str| OPENAI.body.replacen('{', &format!("{{{fields},"), 1);
    let named = [
        (vec![("x-session-id", "s1")], OPENAI.body.to_owned()),
        (vec![("session_id", "s2")], OPENAI.body.to_owned()),
        (
            vec![("x-claude-code-session-id", "s3")],
            OPENAI.body.to_owned(),
        ),
        (vec![], in_body(r#""session_id":"s4""#)),
        (vec![], in_body(r#""prompt_cache_key":"s5""#)),
        (vec![], in_body(r#""metadata":{"user_id":"s6"}"#)),
    ];
    for (headers, body) in &named {
        let first = served_by(&pools, headers, body).await;
        for _ in 0..6 {
            assert_eq!(
                served_by(&pools, headers, body).await,
                first,
                "{headers:?} {body}"
            );
        }
    }
    // Whoever names none takes turns.
    let mut others = Vec::new();
    for _ in 0..4 {
        others.push(served_by(&pools, &[], OPENAI.body).await);
    }
    others.sort();
    others.dedup();
    assert_eq!(others.len(), 4);
    assert!(
        pools
            .house
            .metric(r#"turnpike_session_affinity_total{result="kept"}"#)
            >= 36.0
    );
}

#[tokio::test]
async fn a_key_that_cools_is_left_once_and_for_all() {
    let pools = Pools::of(3, ON).await;
    let first = of_session(&pools, "s").await;
    let limited = Behaviour::rate_limited(Duration::from_secs(5));
    pools.provider.script(&first, [limited]);
    let second = of_session(&pools, "s").await;
    assert_ne!(second, first);
    pools.advance(Duration::from_secs(60));
    for _ in 0..6 {
        assert_eq!(of_session(&pools, "s").await, second, "it has moved");
    }
}

#[tokio::test]
async fn a_session_is_its_callers_and_its_providers() {
    let rest = "api_keys: [{key: client-key-0123456789, name: tests}, {key: another-client-key-1, name: other}]\n";
    let pools = Pools::of(8, &format!("{rest}{ON}")).await;
    let first = of_session(&pools, "s").await;
    // With another provider's models in between.
    pools.ask(&CLAUDE).await;
    assert_eq!(of_session(&pools, "s").await, first);
    // The round is elsewhere by now: another caller's session of the same name begins there.
    let mut client = Client::connect(&pools.house, Http::One).await;
    let mut request = client.request(OPENAI.path, OPENAI.body);
    let headers = request.headers_mut();
    headers.insert(
        "authorization",
        "Bearer another-client-key-1".parse().unwrap(),
    );
    headers.insert("x-session-id", "s".parse().unwrap());
    Answer::read(client.send(request).await.unwrap()).await;
    assert_ne!(pools.provider.calls().last().unwrap().key, first);
}

#[tokio::test]
async fn a_session_is_forgotten_after_its_time() {
    let pools = Pools::of(5, ON).await;
    let first = of_session(&pools, "s").await;
    pools.advance(Duration::from_secs(3_599));
    assert_eq!(
        of_session(&pools, "s").await,
        first,
        "and its time begins anew"
    );
    pools.advance(Duration::from_secs(3_599));
    assert_eq!(of_session(&pools, "s").await, first);
    pools.advance(Duration::from_secs(3_600));
    assert_ne!(
        of_session(&pools, "s").await,
        first,
        "the round has gone on"
    );
}
