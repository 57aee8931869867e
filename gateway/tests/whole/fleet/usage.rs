//! Usage that replicas share.

use futures::future::join_all;
use serde_json::Value;
use turnpike::background::usage;

use super::server::Server;
use super::{Fleet, UPSTREAM};
use crate::harness::House;
use crate::pools::tokens;
use crate::usage::{ADMIN, ask, of_row};

async fn fleet(replicas: usize) -> Fleet {
    Fleet::of(replicas, &admin()).await
}

fn admin() -> String {
    format!("remote-management: {{secret-key: {ADMIN}}}\n")
}

/// What a replica reports, by a token.
async fn report(house: &House, query: &str) -> Value {
    let answer = ask(house, query, &[]).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_replica_reports_what_all_counted() {
    let fleet = fleet(2).await;
    let token = fleet.token(0).await;
    let credential = token.token.expose().to_owned();
    for at in [0, 1] {
        fleet.until_answered(at, &credential, 200).await;
    }
    let calls = |at: usize| {
        let (fleet, credential) = (&fleet, &credential);
        async move {
            for n in 0..100 {
                let answer = match n % 2 {
                    0 => fleet.chat(at).await,
                    _ => fleet.ask(at, credential).await,
                };
                assert_eq!(answer.status, 200, "{}", answer.text());
            }
        }
    };
    join_all([0, 1, 0, 1].map(calls)).await;
    for house in &fleet.houses {
        house.settled().await;
        usage::flush(&house.gateway.runtime).await;
    }
    let told = fleet.provider.usage_of(UPSTREAM);
    for house in &fleet.houses {
        let all = report(house, "by=token").await;
        assert_eq!(all["total"]["calls"], told.calls);
        assert_eq!(of_row(&all["total"]), tokens(told));
        let rows = all["rows"].as_array().unwrap();
        assert_eq!(rows.len(), 2, "{all}");
        assert_eq!(rows[0]["token"], "key tests");
        assert_eq!(rows[1]["token_name"], "laptop");
    }

    // One stops: what it counted last, it has told.
    for _ in 0..10 {
        assert_eq!(fleet.chat(1).await.status, 200);
    }
    fleet.houses[1].gateway.stop().await;
    let told = fleet.provider.usage_of(UPSTREAM);
    let all = report(&fleet.houses[0], "by=").await;
    assert_eq!(of_row(&all["total"]), tokens(told));
    let table = ask(&fleet.houses[0], "by=day&format=csv", &[]).await;
    let calls = table.text().lines().nth(1).unwrap();
    let calls = calls.split(',').nth(1).unwrap();
    assert_eq!(calls, told.calls.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_redis_there_is_no_sum_of_all() {
    let fleet = Fleet::hasty(2, Server::running(), &admin()).await;
    fleet.redis.signal("STOP");
    fleet.until_degraded(0, |degraded| degraded.is_some()).await;
    let answer = ask(&fleet.houses[0], "by=day", &[]).await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(answer.json()["error"]["code"], "storage_unavailable");
    fleet.redis.signal("CONT");
}
