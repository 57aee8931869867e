//! No more than the limit, and all of it.

use super::load::{Fleet, Load, Outcome, on_one_thread};
use super::*;

const CALLS: u64 = 100_000;

struct Ran {
    outcome: Outcome,
    kept: (u64, u64),
    rounds: u64,
}

async fn ran(measure: Measure, window: Window, most: u64, calls: u64) -> Ran {
    let rule = rule(measure, window, most);
    let fleet = Fleet::start(rule.clone(), LEASE, Server::store);
    let load = Load::new(rule);
    load.run(&fleet.replicas, calls).await;
    let rounds = fleet.rounds();
    fleet.close().await;
    let kept = match measure {
        Measure::Concurrency => (0, 0),
        _ => fleet.kept(),
    };
    let outcome = load.outcome();
    eprintln!("{measure:?} {most}: {outcome:?}, {rounds} round trips");
    assert_eq!(fleet.failed(), 0);
    assert_eq!(outcome.away, 0);
    assert_eq!(outcome.admitted + outcome.refused, calls);
    Ran {
        outcome,
        kept,
        rounds,
    }
}

#[test]
fn requests() {
    on_one_thread(async {
        let most = CALLS * 9 / 10;
        let ran = ran(Measure::Requests, Window::Total, most, CALLS).await;
        let outcome = ran.outcome;
        assert!(outcome.admitted <= most, "{outcome:?}");
        assert!(outcome.admitted * 100 >= most * 99, "{outcome:?}");
        assert!(outcome.affordable * 1000 <= CALLS, "{outcome:?}");
        let all = outcome.admitted;
        assert_eq!(ran.kept, (all, all), "what is granted is used or back");
    });
}

#[test]
fn tokens() {
    on_one_thread(async {
        // A call is expected to use some 500, and uses some 300.
        let most = CALLS * 300 * 9 / 10;
        let ran = ran(Measure::Tokens, Window::Total, most, CALLS).await;
        let outcome = ran.outcome;
        assert!(outcome.most_charged <= most, "{outcome:?}");
        assert!(outcome.used <= most + outcome.beyond, "{outcome:?}");
        assert!(outcome.used * 100 >= most * 99, "{outcome:?}");
        assert!(outcome.affordable * 1000 <= CALLS, "{outcome:?}");
        assert_eq!(ran.kept, (outcome.used, outcome.used));
    });
}

#[test]
fn running_calls() {
    on_one_thread(async {
        // Of 512 workers, some three in four are in a call.
        let ran = ran(Measure::Concurrency, Window::Running, 200, CALLS).await;
        let outcome = ran.outcome;
        assert!(outcome.most_charged <= 200, "{outcome:?}");
        assert!(outcome.most_charged * 100 >= 200 * 99, "{outcome:?}");
        // Somebody may be refused here while a slot is free there, for a tick or two.
        assert!(outcome.left_at_refusals * 2 <= 200, "{outcome:?}");
    });
}

#[test]
fn few_round_trips_far_from_the_limit() {
    on_one_thread(async {
        let most = 1 << 40;
        let ran = ran(Measure::Requests, Window::Total, most, CALLS).await;
        assert_eq!(ran.outcome.admitted, CALLS);
        assert_eq!(ran.kept.1, CALLS);
        assert!(ran.rounds * 50 <= CALLS, "{} round trips", ran.rounds);
    });
}
