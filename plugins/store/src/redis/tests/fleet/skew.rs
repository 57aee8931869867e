//! A replica whose clock is wrong by minutes shares a limit of a minute: by the server's clock, as all do.

use turnpike_api::Calendar;

use super::exact::{AFFORDABLE, Report};
use super::load::{Fleet, Load, MINUTE, REPLICAS, on_one_thread};
use super::*;

/// In a minute.
const MOST: u64 = 60_000;
/// More than that.
const CALLS: u64 = MOST * 11 / 10;
/// The first minute's end, from the beginning of the test on, in milliseconds: time to use it up.
const TURNS_IN: u64 = 20_000;
/// So long before the minute turns, there are calls again.
const BEFORE: u64 = 500;
/// In milliseconds.
const FIVE_MINUTES: i64 = 300_000;

/// Minutes, of which one begins at this time: nobody waits for a whole one.
struct Minutes(u64);

impl Calendar for Minutes {
    fn period(&self, now: u64) -> Period {
        let into = (now + MINUTE - self.0 % MINUTE) % MINUTE;
        let start = now - into;
        Period {
            start,
            end: start + MINUTE,
        }
    }
}

/// Uses a minute up, and the next one from its first moment on.
async fn over_two_minutes(ahead: i64) {
    let turn = now() + TURNS_IN;
    let window = Window::Calendar("minute", Arc::new(Minutes(turn)));
    let rule = rule(Measure::Requests, window, MOST);
    let fleet = Fleet::skewed(ahead, rule.clone(), LEASE, Server::store);
    let load = Load::new(rule);
    // It has heard of no other clock than its own.
    load.until_admitted(&fleet.replicas[0]).await;
    assert_eq!(load.outcome().refused, 0, "the first call");
    fleet.know_each_other().await;

    load.run(&fleet.replicas, CALLS).await;
    let is_used_up = now() < turn;
    sleep(Duration::from_millis((turn - BEFORE).saturating_sub(now()))).await;
    let (runs, replicas) = (load.clone(), fleet.replicas.clone());
    let running = tokio::spawn(async move { runs.run(&replicas, u64::MAX / 2).await });
    let in_the_next = || load.of(turn).admitted;
    while in_the_next() == 0 && now() < turn + MINUTE {
        sleep(Duration::from_millis(5)).await;
    }
    load.end_after(CALLS.saturating_sub(in_the_next()));
    running.await.unwrap();
    fleet.close().await;
    holds(&fleet, &load, turn, is_used_up);
}

fn holds(fleet: &Fleet, load: &Load, turn: u64, is_used_up: bool) {
    let outcome = load.outcome();
    let mut report = Report::default();
    let mut admitted = 0;
    for start in [turn - MINUTE, turn] {
        let (taken, kept) = (load.of(start), fleet.kept_in(start));
        eprintln!("a minute of {MOST}");
        report.at_most("admitted", taken.admitted, MOST);
        if start == turn || is_used_up {
            report.at_least("used", taken.admitted, MOST * 99 / 100);
        }
        report.at_most("refused although affordable", taken.affordable, AFFORDABLE);
        report.equal("granted and not given back", kept.0, taken.admitted);
        report.equal("settled", kept.1, taken.admitted);
        admitted += taken.admitted;
    }
    eprintln!("both, by {REPLICAS} replicas");
    report.equal("admitted in another one", outcome.admitted - admitted, 0);
    // Who went by its own clock would be refused in minutes that nobody else knows.
    let bound = 2 * AFFORDABLE;
    report.at_most("refused although affordable", outcome.affordable, bound);
    match is_used_up {
        true => report.equal("admitted outside its minute", outcome.astray, 0),
        // A replica hears of the turn with the next answer, and may hold something by then.
        false => eprintln!("  too slow a machine to use the first one up: {outcome:?}"),
    }
    let its_share = fleet.replicas[0].admitted();
    let half = MOST / REPLICAS as u64;
    report.at_least("by the one whose clock is wrong", its_share, half);
    report.equal("rounds without an answer", fleet.failed(), 0);
    report.end();
}

#[test]
fn a_replica_is_five_minutes_ahead() {
    on_one_thread(over_two_minutes(FIVE_MINUTES));
}

#[test]
fn a_replica_is_five_minutes_behind() {
    on_one_thread(over_two_minutes(-FIVE_MINUTES));
}
