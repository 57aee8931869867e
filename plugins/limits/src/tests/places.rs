//! Places of running calls, where few are left: what is free at one replica is had at another.

use turnpike_api::{Measure, Window};

use super::fleet::{PERIOD, Replica, Shared, Time, rule};
use crate::reservation::{Expected, Why};
use crate::rules::Rule;

struct Fleet {
    store: Shared,
    time: Time,
    here: Replica,
    there: Replica,
}

impl Fleet {
    /// One of two replicas runs as many calls as may run.
    fn full(rules: &[Rule], most: usize) -> Self {
        let time = Time::at(10 * PERIOD);
        let mut fleet = Self {
            store: Shared {
                replicas: 2,
                ..Shared::default()
            },
            here: Replica::new(1, &time, 0),
            there: Replica::new(2, &time, 0),
            time,
        };
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

#[test]
fn who_finds_none_is_refused_after_two_hand_backs() {
    let rules = [rule(Measure::Concurrency, Window::Running, 3)];
    let mut fleet = Fleet::full(&rules, 3);
    for _ in 0..2 {
        fleet.there.call(&rules, Expected::default());
    }
    fleet.there.exchange(&mut fleet.store, &fleet.time);
    let mut hand_backs = 0;
    while fleet.there.waits() > 0 {
        fleet.there.book.hand_back();
        fleet.there.exchange(&mut fleet.store, &fleet.time);
        hand_backs += 1;
    }
    assert_eq!(hand_backs, 2);
    let why: Vec<Why> = fleet.there.fallen.iter().map(|fallen| fallen.why).collect();
    assert_eq!(why, [Why::Spent, Why::Spent]);
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
