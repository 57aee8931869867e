//! Limits that replicas share.

use futures::future::join_all;
use turnpike_loadtest::Behaviour;

use super::server::Server;
use super::{Fleet, UPSTREAM};
use crate::harness::{House, KEY, PATIENCE, until, until_async};

/// One limit of all callers.
pub(super) fn limit(measure: &str, window: &str, most: u64, away: &str) -> String {
    format!(
        "limits: [{{name: shared, scope: tenant, measure: {measure}, {window}limit: {most}, on_unavailable: {away}}}]\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_is_the_fleets() {
    let fleet = Fleet::of(3, &limit("requests", "window: total, ", 60, "deny")).await;
    let caller = async |at: usize| {
        let mut admitted = 0;
        for _ in 0..40 {
            let answer = fleet.chat(at).await;
            assert!([200, 403].contains(&answer.status), "{}", answer.text());
            admitted += usize::from(answer.status == 200);
        }
        admitted
    };
    let admitted: usize = join_all((0..3).map(caller)).await.into_iter().sum();
    assert!(admitted <= 60, "{admitted}");
    // What one holds ahead of need, its own callers have.
    let mut rest = 0;
    for at in (0..3).cycle().take(60) {
        rest += usize::from(fleet.chat(at).await.status == 200);
    }
    assert_eq!(admitted + rest, 60);
    assert_eq!(fleet.billed(), 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_run_anywhere_count_everywhere() {
    let fleet = Fleet::of(2, &limit("concurrency", "", 2, "deny")).await;
    fleet.provider.always(UPSTREAM, Behaviour::Gated);
    let gate = fleet.provider.gate(UPSTREAM);
    let running = join_all([0, 1].map(|at| fleet.chat(at)));
    let beside = async {
        fleet.provider.wait_for_calls(2).await;
        for at in [0, 1] {
            let refused = fleet.chat(at).await;
            assert_eq!(refused.status, 429, "{}", refused.text());
        }
        gate.open();
    };
    let (answers, ()) = futures::join!(running, beside);
    assert!(answers.iter().all(|answer| answer.status == 200));
    for at in [0, 1] {
        fleet.houses[at].settled().await;
    }
}

/// What a replica says that all have used, by this limit.
async fn used(house: &House, name: &str) -> u64 {
    let book = &house.gateway.runtime.limits;
    let mut found = None;
    book.each(|rule, _, account| {
        if rule.split('|').any(|part| part == name) {
            found = Some(account.clone());
        }
    });
    let account = found.unwrap();
    book.inquired(&account).await;
    account.used()
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_and_money_are_what_the_provider_told_to_whomever() {
    const MOST: u64 = 3000;
    let dir = tempfile::tempdir().unwrap();
    let prices = dir.path().join("prices.yaml");
    std::fs::write(
        &prices,
        "version: 1\nprices:\n  - {model: \"*\", input: 3, output: 7}\n",
    )
    .unwrap();
    let rest = format!(
        "prices: {{file: \"{}\"}}\n\
         limits:\n\
         \x20 - {{name: tokens, scope: tenant, measure: tokens, window: total, limit: {MOST}}}\n\
         \x20 - {{name: money, scope: tenant, measure: usd, window: total, limit: 1}}\n",
        prices.display()
    );
    let fleet = Fleet::of(3, &rest).await;
    let caller = async |at: usize| {
        for _ in 0..60 {
            let answer = fleet.chat(at).await;
            assert!(
                [200, 403, 429].contains(&answer.status),
                "{}",
                answer.text()
            );
        }
    };
    join_all((0..3).map(caller)).await;
    let told = fleet.provider.usage_total();
    let tokens = told.input_tokens + told.output_tokens;
    // No answer was longer than is expected of one of which nothing is known.
    assert!(tokens <= MOST, "{tokens}");
    assert!(tokens >= MOST / 3, "{tokens}");
    let cost = told.input_tokens * 3 + told.output_tokens * 7;
    for house in &fleet.houses {
        house.settled().await;
    }
    let agree = async || {
        for house in &fleet.houses {
            if used(house, "tokens").await != tokens || used(house, "money").await != cost {
                return false;
            }
        }
        true
    };
    until_async(agree).await;
}

/// Not only when its lease has lapsed: what is shared out among replicas is shared out anew.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_ends_is_no_replica_any_more() {
    let fleet = Fleet::of(2, &limit("requests", "window: total, ", 60, "deny")).await;
    let known = || fleet.redis.ask(&["ZCARD", "tp1:1:{fleet}:replicas"]);
    until(|| known() == "2").await;
    fleet.houses[0].gateway.stop().await;
    assert_eq!(known(), "1");
    assert_eq!(fleet.chat(1).await.status, 200);
}

/// What is held is spent, then each limit does as it says; and it is counted again when the Redis is
/// back, without anybody's help.
#[tokio::test(flavor = "multi_thread")]
async fn without_its_redis_a_limit_does_as_it_says() {
    for (away, status, code) in [
        ("deny", 503, "limits_unavailable"),
        ("local_share", 403, "insufficient_quota"),
    ] {
        let limits = limit("requests", "window: total, ", 200, away);
        let fleet = Fleet::hasty(2, Server::running(), &limits).await;
        for at in [0, 1] {
            while fleet.chat(at).await.status != 200 {
                tokio::task::yield_now().await;
            }
        }
        // By as many as there last were.
        let knows = |house: &House| house.gateway.runtime.limits.replicas() == 2;
        until(|| fleet.houses.iter().all(knows)).await;
        fleet.redis.signal("STOP");
        let mut admitted = [0, 0];
        for at in [0, 1] {
            let refused = loop {
                let answer = fleet.chat(at).await;
                if answer.status != 200 {
                    break answer;
                }
                admitted[at] += 1;
            };
            assert_eq!(refused.status, status, "{}", refused.text());
            assert_eq!(refused.json()["error"]["code"], code);
            assert!(
                refused.text().contains("out of reach"),
                "{}",
                refused.text()
            );
            let house = &fleet.houses[at];
            assert_eq!(house.metric("turnpike_limits_away"), 1.0);
            let failed = r#"turnpike_store_seconds_count{operation="draw",result="failed"}"#;
            assert!(house.metric(failed) >= 1.0);
        }
        assert!(admitted.iter().sum::<usize>() <= 200, "{admitted:?}");
        fleet.redis.signal("CONT");
        for at in [0, 1] {
            fleet.until_degraded(at, |why| why.is_none()).await;
        }
        if away == "deny" {
            for at in [0, 1] {
                let served = async {
                    while fleet.chat(at).await.status != 200 {
                        tokio::task::yield_now().await;
                    }
                };
                let served = tokio::time::timeout(PATIENCE, served).await;
                served.expect("it recovers by itself");
            }
        }
    }
}

/// A replica that has heard of nobody takes itself for the only one: a minute's worth each, and nothing
/// of what is for longer.
#[tokio::test(flavor = "multi_thread")]
async fn absent_at_the_start_no_replica_admits_a_long_limit_by_its_share() {
    let long = limit("requests", "window: day, ", 10, "local_share");
    let mut fleet = Fleet::hasty(3, Server::absent(), &long).await;
    for at in 0..3 {
        let refused = fleet.chat(at).await;
        assert_eq!(refused.status, 503, "{}", refused.text());
        assert_eq!(refused.json()["error"]["code"], "limits_unavailable");
        assert!(
            refused.text().contains("since this one started"),
            "{}",
            refused.text()
        );
    }
    assert_eq!(fleet.billed(), 0);
    fleet.redis.start();
    for at in 0..3 {
        fleet.until_answered(at, KEY, 200).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn absent_at_the_start_it_admits_its_share() {
    let limits = limit("requests", "window: minute, ", 10, "local_share");
    let fleet = Fleet::hasty(1, Server::absent(), &limits).await;
    let mut admitted = 0;
    for _ in 0..30 {
        let answer = fleet.chat(0).await;
        assert!([200, 429].contains(&answer.status), "{}", answer.text());
        admitted += usize::from(answer.status == 200);
    }
    assert_eq!(admitted, 10, "alone, as far as it knows");
}
