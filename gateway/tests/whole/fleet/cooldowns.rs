//! What one replica learns of a credential, all know.

use futures::future::join_all;
use turnpike::upstream::standing::Cooldowns;
use turnpike_loadtest::Behaviour;

use super::{Fleet, UPSTREAM};
use crate::harness::{KEY, PATIENCE, until};
use crate::pair::at_rest;
use crate::pools::seconds;

impl Fleet {
    /// The cooldowns of the credential that a replica knows.
    fn cooldowns(&self, at: usize) -> Cooldowns {
        let standing = self.houses[at].gateway.runtime.board.find("openai/main");
        standing.map_or_else(Cooldowns::default, |standing| {
            standing.cooldowns().as_kept()
        })
    }

    /// Waits until all replicas know the same, and of so many cooldowns.
    pub(super) async fn until_all_know(&self, count: usize) {
        until(|| {
            let first = self.cooldowns(0);
            let mut others = 1..self.houses.len();
            first.len() == count && others.all(|at| self.cooldowns(at) == first)
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_limited_on_one_replica_is_left_alone_by_all() {
    const REPLICAS: usize = 8;
    let fleet = Fleet::of(REPLICAS, "").await;
    let all = || join_all((0..REPLICAS).map(|at| fleet.chat(at)));
    let limited = Behaviour::rate_limited(seconds(30));
    fleet.provider.script(UPSTREAM, [limited]);
    assert_eq!(fleet.chat(0).await.status, 429);
    fleet.until_all_know(1).await;
    for answer in all().await {
        assert_eq!(answer.status, 429, "{}", answer.text());
        assert_eq!(answer.header("retry-after"), Some("30"));
    }
    assert_eq!(fleet.billed(), 1);

    // One replica tries it, and all hear that it is over.
    fleet.time.advance(seconds(30));
    assert_eq!(fleet.chat(2).await.status, 200);
    fleet.until_all_know(0).await;
    for answer in all().await {
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert_eq!(fleet.billed(), 2 + REPLICAS);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fleet_tries_once_whether_it_is_over() {
    let fleet = Fleet::of(2, "").await;
    let limited = Behaviour::rate_limited(seconds(10));
    let [first, held] = [limited.clone(), Behaviour::held(limited)];
    let held_again = Behaviour::held(Behaviour::Ok);
    fleet.provider.script(UPSTREAM, [first, held, held_again]);
    let gate = fleet.provider.gate(UPSTREAM);
    assert_eq!(fleet.chat(0).await.status, 429);
    for (window, verdict) in [(1, 429), (2, 200)] {
        fleet.until_all_know(1).await;
        fleet.time.advance(seconds(10));
        // The call that tries it hangs; on the other replica nobody tries it meanwhile.
        let trying = fleet.chat(window % 2);
        let meanwhile = async {
            fleet.provider.wait_for_calls(window + 1).await;
            for _ in 0..3 {
                let answer = fleet.chat((window + 1) % 2).await;
                assert_eq!(answer.status, 429, "{}", answer.text());
                // It asks again by and by.
                fleet.time.advance(seconds(1));
            }
            assert_eq!(fleet.billed(), window + 1);
            gate.release(1);
        };
        let (answer, ()) = futures::join!(trying, meanwhile);
        assert_eq!(answer.status, verdict, "{}", answer.text());
    }
    fleet.until_all_know(0).await;
    assert_eq!(fleet.chat(0).await.status, 200);
    assert_eq!(fleet.chat(1).await.status, 200);
}

/// Its caller leaves, and another replica may try it at once.
#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_without_a_verdict_leaves_it_to_the_others() {
    let fleet = Fleet::of(2, "").await;
    let limited = Behaviour::rate_limited(seconds(10));
    fleet
        .provider
        .script(UPSTREAM, [limited, Behaviour::held(Behaviour::Ok)]);
    assert_eq!(fleet.chat(0).await.status, 429);
    fleet.until_all_know(1).await;
    fleet.time.advance(seconds(10));
    {
        let trying = fleet.chat(0);
        futures::pin_mut!(trying);
        let called = fleet.provider.wait_for_calls(2);
        futures::pin_mut!(called);
        futures::future::select(trying, called).await;
    }
    let tried = async {
        // It may not have heard yet, and asks again by and by.
        while fleet.chat(1).await.status != 200 {
            fleet.time.advance(seconds(1));
        }
    };
    tokio::time::timeout(PATIENCE, tried).await.unwrap();
    fleet.until_all_know(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fleet_looks_once_an_interval_at_one_that_failed() {
    let fleet = Fleet::of(3, "").await;
    let refused = Behaviour::Status {
        code: 401,
        body: None,
        headers: Vec::new(),
    };
    fleet.provider.always(UPSTREAM, refused.clone());
    fleet.provider.lists(UPSTREAM, refused);
    fleet.chat(0).await;
    fleet.until_all_know(1).await;
    for round in 1..=3 {
        fleet.redis.age(seconds(10));
        fleet.time.advance(seconds(10));
        let looks = at_rest(|| fleet.looks()).await;
        assert_eq!(looks, round, "one look an interval");
    }
    // Whoever finds it well tells all.
    fleet.provider.reset(UPSTREAM);
    fleet.redis.age(seconds(10));
    fleet.time.advance(seconds(10));
    for at in [0, 1, 2] {
        fleet.until_answered(at, KEY, 200).await;
    }
}
