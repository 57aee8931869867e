//! Caps of upstream credentials hold for all replicas together, counted where the calls arrive.

use std::time::Duration;

use futures::future::join_all;
use turnpike_loadtest::Behaviour;

use super::quotas::{CALL, answers_alike, key};
use super::{Fleet, openai};
use crate::harness::PATIENCE;

const REPLICAS: usize = 3;

/// Who was refused is refused without a look for some of these.
pub(super) const MOMENT: Duration = Duration::from_millis(10);

/// Two credentials with these caps.
async fn fleet(caps: &str) -> Fleet {
    let one = |n: usize| format!("{{api_key: {}, caps: {{{caps}}}}}", key(n));
    Fleet::of(REPLICAS, &openai(&[1, 2].map(one).join(", "))).await
}

fn calls(fleet: &Fleet) -> [usize; 2] {
    [1, 2].map(|n| fleet.provider.calls_with(&key(n)).len())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_calls_run_at_a_credential_wherever_they_come() {
    let fleet = fleet("concurrency: 2").await;
    for n in [1, 2] {
        fleet.provider.always(&key(n), Behaviour::Gated);
    }
    let caller = async |at: usize| {
        loop {
            let answer = fleet.chat(at).await;
            if answer.status == 200 {
                return;
            }
            assert_eq!(answer.status, 429, "{}", answer.text());
            fleet.time.advance(MOMENT);
        }
    };
    let callers = join_all((0..6).map(|n| caller(n % REPLICAS)));
    let beside = async {
        fleet.provider.wait_for_calls(4).await;
        for at in (0..REPLICAS).cycle().take(30) {
            let refused = fleet.chat(at).await;
            assert_eq!(refused.json()["error"]["code"], "model_cooldown");
        }
        assert_eq!(calls(&fleet), [2, 2]);
        for n in [1, 2] {
            fleet.provider.gate(&key(n)).open();
        }
    };
    futures::join!(callers, beside);
}

/// The minute that it is by the Redis, which replicas go by.
pub(super) fn minute(fleet: &Fleet) -> u64 {
    let now = fleet
        .redis
        .ask(&["EVAL", "return redis.call('TIME')[1]", "0"]);
    now.parse::<u64>().unwrap() / 60
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_is_asked_no_more_often_in_a_minute_than_it_may_be() {
    const CALLS: usize = 10;
    let tokens = format!("tokens_per_minute: {}", CALLS as u64 * CALL);
    for caps in [&format!("requests_per_minute: {CALLS}"), &tokens] {
        let fleet = fleet(caps).await;
        answers_alike(&fleet, 2);
        let began = minute(&fleet);
        let caller = async |at: usize| {
            for _ in 0..CALLS {
                let answer = fleet.chat(at).await;
                assert!([200, 429].contains(&answer.status), "{}", answer.text());
            }
        };
        join_all((0..REPLICAS).map(caller)).await;
        // What one replica lacks, another one gives back soon.
        let mut last = String::new();
        let rest = async {
            for at in (0..REPLICAS).cycle() {
                if calls(&fleet).iter().sum::<usize>() >= 2 * CALLS || minute(&fleet) != began {
                    break;
                }
                last = fleet.chat(at).await.text().to_owned();
                fleet.time.advance(MOMENT);
            }
        };
        if tokio::time::timeout(PATIENCE, rest).await.is_err() {
            panic!("{:?} of {caps}, and then {last}", calls(&fleet));
        }
        for at in (0..REPLICAS).cycle().take(30) {
            fleet.chat(at).await;
        }
        let minutes = usize::try_from(minute(&fleet) - began + 1).unwrap();
        let calls = calls(&fleet);
        assert!(
            calls.iter().all(|one| *one <= CALLS * minutes),
            "{calls:?} of {caps}"
        );
        assert!(minutes > 1 || calls == [CALLS; 2], "{calls:?} of {caps}");
    }
}
