//! Places of running calls, where few are left: what is free at one replica is had at another.

use std::sync::Arc;

use turnpike_api::{Level, Limit, Measure, Window};

use super::fleet::{PERIOD, Replica, Shared, Time, rule};
use crate::account::KNOWN;
use crate::reservation::{Expected, Why};
use crate::rules::Rule;

struct Fleet {
    store: Shared,
    time: Time,
    here: Replica,
    there: Replica,
}

impl Fleet {
    fn empty() -> Self {
        let time = Time::at(10 * PERIOD);
        Self {
            store: Shared {
                replicas: 2,
                ..Shared::default()
            },
            here: Replica::new(1, &time, 0),
            there: Replica::new(2, &time, 0),
            time,
        }
    }

    /// One of two replicas runs as many calls as may run.
    fn full(rules: &[Rule], most: usize) -> Self {
        let mut fleet = Self::empty();
        for _ in 0..most {
            fleet.here.call(rules, Expected::default());
            while fleet.here.waits() > 0 {
                fleet.here.exchange(&mut fleet.store, &fleet.time);
            }
        }
        assert_eq!(fleet.here.running.len(), most);
        fleet
    }

    /// What [`crate::HAND_BACK`] brings at both.
    fn hand_back(&mut self) -> usize {
        let mut admitted = 0;
        for replica in [&mut self.here, &mut self.there] {
            replica.book.hand_back();
            admitted += replica.exchange(&mut self.store, &self.time);
        }
        admitted
    }

    /// So many hand-backs the other one's next two calls wait for until they are refused.
    fn until_refused(&mut self, rules: &[Rule]) -> u64 {
        for _ in 0..2 {
            self.there.call(rules, Expected::default());
        }
        self.there.exchange(&mut self.store, &self.time);
        let mut hand_backs = 0;
        while self.there.waits() > 0 {
            self.there.book.hand_back();
            self.there.exchange(&mut self.store, &self.time);
            hand_backs += 1;
        }
        hand_backs
    }
}

#[test]
fn a_place_that_comes_free_elsewhere_is_found_by_who_waits() {
    let rules = [rule(Measure::Concurrency, Window::Running, 3)];
    let mut fleet = Fleet::full(&rules, 3);
    fleet.there.call(&rules, Expected::default());
    fleet.there.exchange(&mut fleet.store, &fleet.time);
    assert_eq!(fleet.there.waits(), 1, "there may be one in a moment");
    // No tick, and no time passes.
    fleet.here.running.pop();
    assert_eq!(fleet.hand_back(), 1);
    assert_eq!(fleet.there.running.len(), 1);
}

/// It need not go to the store and back.
#[test]
fn a_place_that_comes_free_here_is_for_who_waits_here() {
    let rules = [rule(Measure::Concurrency, Window::Running, 3)];
    let mut fleet = Fleet::full(&rules, 3);
    for _ in 0..2 {
        fleet.here.call(&rules, Expected::default());
        fleet.here.exchange(&mut fleet.store, &fleet.time);
    }
    assert_eq!(fleet.here.waits(), 2);
    fleet.here.running.pop();
    assert_eq!(fleet.here.poll(), 1);
    assert_eq!((fleet.here.running.len(), fleet.here.waits()), (3, 1));
}

/// The first who finds none waits for those to hear of it who look once a tick. From then on, what is
/// free anywhere is handed back at once.
#[test]
fn who_finds_none_is_refused_after_two_hand_backs_once_all_know() {
    let rules = [rule(Measure::Concurrency, Window::Running, 3)];
    let mut fleet = Fleet::full(&rules, 3);
    assert_eq!(fleet.until_refused(&rules), KNOWN);
    assert_eq!(fleet.until_refused(&rules), 2);
    let why: Vec<Why> = fleet.there.fallen.iter().map(|fallen| fallen.why).collect();
    assert_eq!(why, [Why::Spent; 4]);
}

#[test]
fn who_may_try_another_credential_does_not_wait_until_all_know() {
    let rule = rule(Measure::Concurrency, Window::Running, 3);
    let limit = Limit {
        level: Level::Credential,
        ..(*rule.limit).clone()
    };
    let rules = [Rule::new("", Arc::new(limit))];
    let mut fleet = Fleet::full(&rules, 3);
    assert_eq!(
        fleet.until_refused(&rules),
        3,
        "the first one counts as late"
    );
    assert_eq!(fleet.until_refused(&rules), 2);
}

/// Its answer says what there was before the machine stood still.
#[test]
fn a_late_hand_back_is_followed_by_another_one() {
    let rules = [rule(Measure::Concurrency, Window::Running, 3)];
    let mut fleet = Fleet::full(&rules, 3);
    fleet.until_refused(&rules);
    fleet.time.advance(50);
    assert_eq!(fleet.until_refused(&rules), 3);
}

/// It hears of those who drew when it did with its next answer only.
#[test]
fn who_finds_less_than_it_lacks_knows_that_it_is_not_alone() {
    let rules = [rule(Measure::Concurrency, Window::Running, 3)];
    let mut fleet = Fleet::full(&rules, 3);
    fleet.store.replicas = 1;
    assert_eq!(fleet.until_refused(&rules), KNOWN);
}

/// It drew its places before it heard of anybody, and hears that they are few when it looks.
#[test]
fn a_place_that_one_who_knew_of_nobody_keeps_is_found() {
    let rules = [rule(Measure::Concurrency, Window::Running, 3)];
    let mut fleet = Fleet::empty();
    fleet.store.replicas = 1;
    for _ in 0..2 {
        fleet.here.call(&rules, Expected::default());
        fleet.here.exchange(&mut fleet.store, &fleet.time);
    }
    fleet.here.running.pop();
    fleet.store.replicas = 2;
    for _ in 0..2 {
        fleet.there.call(&rules, Expected::default());
    }
    fleet.there.exchange(&mut fleet.store, &fleet.time);
    for _ in 0..KNOWN - 2 {
        fleet.hand_back();
    }
    assert_eq!(fleet.there.waits(), 1, "one place lies idle here");
    fleet.here.book.tick();
    fleet.here.exchange(&mut fleet.store, &fleet.time);
    fleet.hand_back();
    assert_eq!(fleet.there.waits(), 0);
    assert_eq!(
        (fleet.here.running.len(), fleet.there.running.len()),
        (1, 2)
    );
}

/// Where there are enough, what is free is kept until the next tick.
#[test]
fn many_places_are_not_handed_back() {
    let rules = [rule(Measure::Concurrency, Window::Running, 1000)];
    let mut fleet = Fleet::full(&rules, 5);
    fleet.here.running.clear();
    fleet.here.book.hand_back();
    assert!(fleet.here.book.round().draws().is_empty());
    fleet.here.book.tick();
    assert!(!fleet.here.book.round().draws().is_empty());
}

#[test]
fn after_an_outage_places_go_back_as_before() {
    let rules = [rule(Measure::Concurrency, Window::Running, 3)];
    let mut fleet = Fleet::full(&rules, 3);
    fleet.here.book.tick();
    let round = fleet.here.book.round();
    assert!(fleet.here.book.answered(round, None), "it is away");
    fleet.here.book.tick();
    fleet.here.exchange(&mut fleet.store, &fleet.time);
    assert!(!fleet.here.book.is_away());

    fleet.there.call(&rules, Expected::default());
    fleet.there.exchange(&mut fleet.store, &fleet.time);
    fleet.here.running.pop();
    assert_eq!(fleet.hand_back(), 1);
}

/// As many answers it has heard, however long they took.
#[test]
fn a_slow_store_is_waited_for() {
    let rules = [rule(Measure::Concurrency, Window::Running, 3)];
    let mut fleet = Fleet::full(&rules, 3);
    fleet.there.call(&rules, Expected::default());
    for _ in 0..5 {
        fleet.there.book.hand_back();
    }
    fleet.there.exchange(&mut fleet.store, &fleet.time);
    assert_eq!(fleet.there.waits(), 1);
}
