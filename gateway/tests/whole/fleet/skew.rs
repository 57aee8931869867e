//! Two replicas of which one's clock is wrong by five minutes.

use std::time::Duration;

use futures::future::join_all;
use serde_json::Value;
use turnpike::clock::Time;
use turnpike_loadtest::Behaviour;

use super::caps::{MOMENT, minute};
use super::limits::limit;
use super::tokens::revoked;
use super::{Fleet, UPSTREAM};
use crate::harness::{Answer, PATIENCE};
use crate::pools::{START, seconds};

/// In seconds.
const FIVE_MINUTES: i64 = 300;

/// A fleet whose second replica has a clock of its own.
struct Skewed {
    fleet: Fleet,
    times: [Time; 2],
}

impl Skewed {
    /// That clock is so many seconds ahead.
    async fn by(ahead: i64, rest: &str) -> Self {
        let mut fleet = Fleet::of(1, rest).await;
        let time = Time::simulated(START.saturating_add_signed(1000 * ahead));
        let house = fleet.another_by(time.clone(), rest).await;
        fleet.houses.push(house);
        let times = [fleet.time.clone(), time];
        Self { fleet, times }
    }

    /// So much passes for both.
    fn advance(&self, by: Duration) {
        self.times.iter().for_each(|time| time.advance(by));
    }
}

/// A minute is one by the Redis' clock, for both: they spend it together, and are told the same end.
#[tokio::test(flavor = "multi_thread")]
async fn a_minutes_limit_is_the_fleets() {
    const MOST: usize = 40;
    for ahead in [FIVE_MINUTES, -FIVE_MINUTES] {
        let limits = limit("requests", "window: minute, ", MOST as u64, "deny");
        let skewed = Skewed::by(ahead, &limits).await;
        let fleet = &skewed.fleet;
        let began = minute(fleet);
        for at in [1, 0] {
            let first = fleet.chat(at).await;
            assert_eq!(first.status, 200, "{ahead} s: {}", first.text());
        }
        let caller = async |at: usize| {
            for _ in 0..MOST {
                let answer = fleet.chat(at).await;
                assert!([200, 429].contains(&answer.status), "{}", answer.text());
            }
        };
        join_all([0, 1].map(caller)).await;
        // What one replica lacks, the other one gives back soon.
        let rest = async {
            for at in [0, 1].into_iter().cycle() {
                if fleet.billed() >= MOST || minute(fleet) != began {
                    break;
                }
                fleet.chat(at).await;
                skewed.advance(MOMENT);
            }
        };
        let spent = tokio::time::timeout(PATIENCE, rest).await;
        spent.unwrap_or_else(|_| panic!("{ahead} s: {} of {MOST}", fleet.billed()));
        let refused = async |at: usize| {
            let mut last = Value::Null;
            for _ in 0..10 {
                last = reset_time(&fleet.chat(at).await);
                skewed.advance(MOMENT);
            }
            last
        };
        let ends = join_all([0, 1].map(refused)).await;
        let minutes = usize::try_from(minute(fleet) - began + 1).unwrap();
        let billed = fleet.billed();
        assert!(billed <= MOST * minutes, "{ahead} s: {billed} in {minutes}");
        if minutes == 1 {
            assert_eq!(billed, MOST, "{ahead} s");
            assert!(ends[0].is_string(), "{ahead} s: {ends:?}");
            assert_eq!(ends[0], ends[1], "{ahead} s");
        }
    }
}

/// When a limit that an answer tells of begins anew.
fn reset_time(answer: &Answer) -> Value {
    answer.json()["error"]["limit"]["reset_time"].clone()
}

/// A cooldown's end is a time of day by the clock of who met the failure: who is behind leaves the
/// credential alone for so much longer, who is ahead tries it so much sooner, and all hear what came
/// of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_cooldown_ends_by_the_clock_of_who_met_the_failure() {
    for ahead in [FIVE_MINUTES, -FIVE_MINUTES] {
        let skewed = Skewed::by(ahead, "").await;
        for (met, other, ahead) in [(1, 0, ahead), (0, 1, -ahead)] {
            is_met_by(&skewed, met, other, ahead).await;
        }
    }
}

/// `met` is so many seconds ahead of the other one.
async fn is_met_by(skewed: &Skewed, met: usize, other: usize, ahead: i64) {
    let fleet = &skewed.fleet;
    let limited = Behaviour::rate_limited(seconds(30));
    fleet.provider.script(UPSTREAM, [limited]);
    assert_eq!(fleet.chat(met).await.status, 429);
    fleet.until_all_know(1).await;
    let billed = fleet.billed();

    let left = async |at: usize| {
        let answer = fleet.chat(at).await;
        assert_eq!(answer.status, 429, "{}", answer.text());
        answer.json()["error"]["reset_seconds"].as_i64().unwrap()
    };
    assert_eq!(left(met).await, 30);
    let tries = match ahead > 0 {
        // By its clock it is over.
        false => other,
        true => {
            assert_eq!(left(other).await, 30 + ahead);
            skewed.advance(seconds(30));
            assert_eq!(left(other).await, ahead);
            met
        }
    };
    assert_eq!(fleet.billed(), billed, "nobody tries it before");
    let tried = fleet.chat(tries).await;
    assert_eq!(tried.status, 200, "{}", tried.text());
    fleet.until_all_know(0).await;
    for at in [0, 1] {
        assert_eq!(fleet.chat(at).await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_one_for_both_and_so_is_its_end() {
    for ahead in [FIVE_MINUTES, -FIVE_MINUTES] {
        let skewed = Skewed::by(ahead, "").await;
        let fleet = &skewed.fleet;
        for (made, ended) in [(1, 0), (0, 1)] {
            let issued = fleet.token(made).await;
            let token = issued.token.expose();
            for at in [0, 1] {
                fleet.until_answered(at, token, 200).await;
            }
            revoked(fleet, ended, &issued.record.id).await;
            for at in [0, 1] {
                let answer = fleet.until_answered(at, token, 401).await;
                assert!(answer.text().contains("revoked"), "{}", answer.text());
            }
        }
    }
}
