//! One replica, and a store that answers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use futures::FutureExt;
use turnpike_api::{Clock, Limit, Measure, OnUnavailable, Window};

use super::fleet::{LEASE, PERIOD, Replica, Shared, Time, minutes, rule, window};
use crate::book::Book;
use crate::reservation::{Expected, Spent, Why};
use crate::rules::Rule;

const ONE: Expected = Expected {
    input: 0,
    output: 0,
    cost: 0,
};

fn one() -> (Replica, Shared, Time) {
    let time = Time::at(10 * PERIOD);
    let store = Shared {
        replicas: 1,
        ..Shared::default()
    };
    (Replica::new(1, &time, 0), store, time)
}

/// Calls and exchanges until it is decided about all of them.
fn call(replica: &mut Replica, store: &mut Shared, time: &Time, rules: &[Rule]) -> bool {
    let mut admitted = replica.call(rules, ONE);
    while replica.waits() > 0 {
        admitted += replica.exchange(store, time);
    }
    admitted == 1
}

#[test]
fn a_limit_is_exact_and_begins_anew() {
    let (mut replica, mut store, time) = one();
    let rules = [rule(Measure::Requests, minutes(), 100)];
    for minute in 0..3 {
        let admitted = (0..150).filter(|_| call(&mut replica, &mut store, &time, &rules));
        assert_eq!(admitted.count(), 100, "minute {minute}");
        time.advance(PERIOD);
    }
    let fallen = replica.fallen.first().unwrap();
    assert_eq!((fallen.why, fallen.remaining), (Why::Spent, 0));
    assert_eq!(fallen.resets_at, Some(11 * PERIOD));
}

/// What was used of the minute that runs is not forgotten for another one, which was begun too soon.
#[test]
fn a_clock_that_ran_ahead_admits_nothing_twice() {
    let (mut replica, mut store, ours) = one();
    let rules = [rule(Measure::Requests, minutes(), 10)];
    let stores = Time::at(ours.now());
    let six = (0..6).filter(|_| call(&mut replica, &mut store, &stores, &rules));
    assert_eq!(six.count(), 6);
    for _ in 0..3 {
        ours.advance(PERIOD);
        call(&mut replica, &mut store, &stores, &rules);
    }
    while call(&mut replica, &mut store, &stores, &rules) {}
    assert_eq!(replica.running.len(), 10);
}

#[test]
fn few_exchanges_far_from_the_limit_and_few_at_it() {
    let (mut replica, mut store, time) = one();
    let rules = [rule(Measure::Requests, minutes(), 1_000_000)];
    let mut exchanges = 0;
    for _ in 0..10_000 {
        let mut admitted = replica.call(&rules, ONE);
        while admitted == 0 {
            exchanges += 1;
            admitted += replica.exchange(&mut store, &time);
        }
        replica.running.clear();
    }
    assert!(exchanges <= 20, "{exchanges} exchanges");

    let rules = [rule(Measure::Requests, Window::Total, 10)];
    for _ in 0..1000 {
        replica.call(&rules, ONE);
        while replica.waits() > 0 {
            exchanges += 1;
            replica.exchange(&mut store, &time);
        }
    }
    assert!(exchanges <= 40, "{exchanges} exchanges");
}

/// What is given back to the store can be had again at once, also by who was refused just before.
#[test]
fn a_slot_that_went_back_is_there_for_the_next() {
    let (mut replica, mut store, time) = one();
    let rules = [rule(Measure::Concurrency, Window::Running, 2)];
    assert!(call(&mut replica, &mut store, &time, &rules));
    assert!(call(&mut replica, &mut store, &time, &rules));
    assert!(!call(&mut replica, &mut store, &time, &rules), "two run");
    replica.running.clear();
    // No time passes.
    for _ in 0..4 {
        replica.exchange(&mut store, &time);
    }
    assert!(call(&mut replica, &mut store, &time, &rules));
}

#[test]
fn all_limits_or_none() {
    let (mut replica, mut store, time) = one();
    let wide = rule(Measure::Requests, Window::Total, 100);
    let narrow = rule(Measure::Requests, minutes(), 3);
    let both = [wide.clone(), narrow];
    let admitted = (0..10).filter(|_| call(&mut replica, &mut store, &time, &both));
    assert_eq!(admitted.count(), 3);
    let fallen = &replica.fallen[0];
    assert_eq!(fallen.limit.window.as_str(), "minute");
    // What was taken of the wide one for those that fell by the narrow one is there again.
    let admitted =
        (0..200).filter(|_| call(&mut replica, &mut store, &time, std::slice::from_ref(&wide)));
    assert_eq!(admitted.count(), 97);
}

#[test]
fn what_is_used_counts_not_what_was_expected() {
    let (mut replica, mut store, time) = one();
    let rules = [rule(Measure::Tokens, minutes(), 1000)];
    let expected = Expected {
        input: 100,
        output: 300,
        cost: 0,
    };
    let begin = |replica: &mut Replica, store: &mut Shared| {
        let mut admitted = replica.call(&rules, expected);
        while replica.waits() > 0 {
            admitted += replica.exchange(store, &time);
        }
        admitted
    };
    assert_eq!(begin(&mut replica, &mut store), 1);
    assert_eq!(begin(&mut replica, &mut store), 1);
    assert_eq!(begin(&mut replica, &mut store), 0, "400 of 200 left");
    for call in replica.running.drain(..) {
        call.spend(Spent {
            input: 90,
            output: 10,
            cost: 0,
        });
    }
    time.advance(200);
    assert_eq!(begin(&mut replica, &mut store), 1, "200 are used");
    // More than was left.
    replica.running[0].spend(Spent {
        input: 100,
        output: 5000,
        cost: 0,
    });
    replica.running.clear();
    time.advance(200);
    assert_eq!(begin(&mut replica, &mut store), 0);
    let fallen = replica.fallen.last().unwrap();
    assert_eq!(fallen.remaining, 0);
}

#[test]
fn a_call_that_is_not_sent_counts_for_nothing() {
    let (replica, mut store, time) = one();
    for window in [minutes(), Window::Sliding(Duration::from_secs(1))] {
        let rules = [rule(Measure::Requests, window, 2)];
        for _ in 0..10 {
            let refs: Vec<_> = rules.iter().map(|rule| (rule, "")).collect();
            let mut call = Box::pin(replica.book.reserve(&refs, ONE));
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            let reservation = loop {
                match call.as_mut().poll(&mut context) {
                    std::task::Poll::Ready(outcome) => break outcome,
                    std::task::Poll::Pending => {
                        let round = replica.book.round();
                        let drawn = store.draw(1, round.draws(), time.now());
                        replica.book.answered(round, Some(drawn));
                    }
                }
            };
            drop(reservation.unwrap());
        }
    }
}

#[test]
fn running_calls_make_room_when_they_end() {
    let (mut replica, mut store, time) = one();
    let rules = [rule(Measure::Concurrency, Window::Running, 4)];
    for _ in 0..5 {
        let admitted = (0..9).filter(|_| call(&mut replica, &mut store, &time, &rules));
        assert_eq!(admitted.count(), 4);
        replica.running.clear();
        time.advance(1000);
    }
}

#[test]
fn a_sliding_second_has_no_edge() {
    let (mut replica, mut store, time) = one();
    let rules = [rule(
        Measure::Requests,
        Window::Sliding(Duration::from_secs(1)),
        10,
    )];
    let mut admitted: Vec<u64> = Vec::new();
    for step in 0..400u64 {
        time.advance(17 + step % 13);
        for _ in 0..2 {
            if call(&mut replica, &mut store, &time, &rules) {
                admitted.push(time.now());
            }
        }
        replica.running.clear();
    }
    for window in admitted.windows(11) {
        let took = window[10] - window[0];
        assert!(took >= 1000, "11 in {took} ms");
    }
    // 400 steps of 23 ms at 10 a second.
    assert!(admitted.len() >= 80, "{}", admitted.len());
}

#[test]
fn without_the_store_each_limit_does_as_it_says() {
    for (on_unavailable, most, admitted, why) in [
        (OnUnavailable::Allow, 8, 20, None),
        (OnUnavailable::Deny, 8, 0, Some(Why::Away)),
        (OnUnavailable::LocalShare, 8, 2, Some(Why::Share)),
        (OnUnavailable::LocalShare, 3, 0, Some(Why::Away)),
    ] {
        for (measure, window) in [
            (Measure::Requests, minutes()),
            (Measure::Concurrency, Window::Running),
        ] {
            let (mut replica, mut store, time) = one();
            store.replicas = 4;
            // It hears how many there are, then nothing more.
            replica.exchange(&mut store, &time);
            let round = replica.book.round();
            assert!(replica.book.answered(round, None));
            let limit = Limit {
                on_unavailable,
                ..(*rule(measure, window, most).limit).clone()
            };
            let rules = [Rule::new("", Arc::new(limit))];
            let count: usize = (0..20).map(|_| replica.call(&rules, ONE)).sum();
            assert_eq!(count, admitted, "{on_unavailable:?} {measure:?}");
            assert_eq!(replica.waits(), 0, "nobody waits for it");
            let told = replica.fallen.last().map(|fallen| fallen.why);
            assert_eq!(told, why, "{on_unavailable:?} {measure:?} {most}");
            // It is back, and hears of it.
            time.advance(250);
            replica.book.tick();
            let round = replica.book.round();
            // What runs is asked for; what is used is told.
            let draws = round.draws().iter();
            let total: u64 = draws.map(|draw| draw.total + draw.need).sum();
            assert_eq!(total, admitted as u64, "{on_unavailable:?} {measure:?}");
            let drawn = store.draw(1, round.draws(), time.now());
            assert!(replica.book.answered(round, Some(drawn)));
        }
    }
}

/// Each takes itself for the only one until it hears of the others.
#[test]
fn who_never_heard_of_the_others_takes_no_share_of_long_limits() {
    const MOST: u64 = 12;
    for (window, alone, why) in [
        (minutes(), 12, Why::Share),
        (window("hour"), 0, Why::Unheard),
        (window("day"), 0, Why::Unheard),
        (Window::Total, 0, Why::Unheard),
        // Beyond it, the provider refuses.
        (window(Window::QUOTA), 12, Why::Share),
    ] {
        let limit = Limit {
            on_unavailable: OnUnavailable::LocalShare,
            ..(*rule(Measure::Requests, window.clone(), MOST).limit).clone()
        };
        let rules = [Rule::new("", Arc::new(limit))];
        let time = Time::at(10 * PERIOD);
        let mut replicas: Vec<_> = (1..=3).map(|id| Replica::new(id, &time, 0)).collect();
        for replica in &mut replicas {
            let round = replica.book.round();
            assert!(replica.book.answered(round, None));
            let admitted: usize = (0..20).map(|_| replica.call(&rules, ONE)).sum();
            assert_eq!(admitted, alone, "{window:?}");
            assert_eq!(replica.fallen.last().unwrap().why, why, "{window:?}");
        }
        // Heard of once, all of them have a share from then on.
        let mut store = Shared {
            replicas: 3,
            ..Shared::default()
        };
        time.advance(PERIOD);
        for replica in &mut replicas {
            replica.exchange(&mut store, &time);
            let round = replica.book.round();
            replica.book.answered(round, None);
            let admitted: usize = (0..20).map(|_| replica.call(&rules, ONE)).sum();
            assert_eq!(admitted as u64, MOST / 3, "{window:?}");
            assert_eq!(replica.fallen.last().unwrap().why, Why::Share, "{window:?}");
        }
    }
}

/// At each look at the clock, somebody else takes all that is free.
struct Thief {
    time: Time,
    of: OnceLock<(Weak<Book>, Rule)>,
    is_busy: AtomicBool,
}

impl Clock for Thief {
    fn now(&self) -> u64 {
        if let Some((book, rule)) = self.of.get()
            && let Some(book) = book.upgrade()
            && !self.is_busy.swap(true, Ordering::Relaxed)
        {
            let bucket = book.bucket(rule, "");
            let account = book.account(&bucket, &rule.limit);
            while account.take(1, book.moment()).is_some() {}
            self.is_busy.store(false, Ordering::Relaxed);
        }
        self.time.now()
    }
}

#[test]
fn a_call_that_others_are_always_quicker_than_is_not_let_pass() {
    for (on_unavailable, admitted) in [
        (OnUnavailable::LocalShare, false),
        (OnUnavailable::Allow, true),
    ] {
        let limit = Limit {
            on_unavailable,
            ..(*rule(Measure::Requests, minutes(), 1000).limit).clone()
        };
        let rule = Rule::new("", Arc::new(limit));
        let thief = Arc::new(Thief {
            time: Time::at(10 * PERIOD),
            of: OnceLock::new(),
            is_busy: AtomicBool::new(false),
        });
        let book = Arc::new(Book::new(thief.clone(), LEASE));
        book.answered(book.round(), None);
        book.bucket(&rule, "");
        let of = (Arc::downgrade(&book), rule.clone());
        assert!(thief.of.set(of).is_ok());
        let reserved = book.reserve(&[(&rule, "")], ONE).now_or_never().unwrap();
        assert_eq!(reserved.is_ok(), admitted, "{on_unavailable:?}");
    }
}

#[test]
fn what_is_held_is_spent_while_the_store_is_away() {
    let (mut replica, mut store, time) = one();
    let rules = [rule(Measure::Requests, minutes(), 1000)];
    while replica.book.round().draws().is_empty() {
        replica.call(&rules, ONE);
    }
    replica.exchange(&mut store, &time);
    // Some draws at a pace that leaves it with more than one.
    for _ in 0..20 {
        call(&mut replica, &mut store, &time, &rules);
    }
    replica.book.tick();
    replica.exchange(&mut store, &time);
    let round = replica.book.round();
    replica.book.answered(round, None);
    let admitted: usize = (0..1000).map(|_| replica.call(&rules, ONE)).sum();
    assert!((1..900).contains(&admitted), "{admitted}");
    assert_eq!(replica.waits(), 0);
}

/// What runs is held by a lease, and was renewed just now: it is told again all the same.
#[test]
fn a_store_that_forgot_is_told_everything_at_once() {
    let (mut replica, mut store, time) = one();
    let rules = [
        rule(Measure::Concurrency, Window::Running, 10),
        rule(Measure::Requests, minutes(), 100),
    ];
    for _ in 0..5 {
        assert!(call(&mut replica, &mut store, &time, &rules));
    }
    replica.exchange(&mut store, &time);
    assert!(replica.book.round().draws().is_empty(), "all is told");

    store.entries.clear();
    store.epoch = 7;
    replica.exchange(&mut store, &time);
    assert!(store.entries.is_empty(), "there was nothing to say");
    let told = replica.book.round();
    let mut totals: Vec<_> = told.draws().iter().map(|draw| draw.total).collect();
    totals.sort_unstable();
    assert_eq!(totals.len(), 2);
    assert!(totals.iter().all(|total| *total >= 5), "{totals:?}");
}

#[test]
fn a_limit_that_is_lowered_counts_at_once() {
    let (mut replica, mut store, time) = one();
    let rules = |most| [rule(Measure::Requests, minutes(), most)];
    for _ in 0..40 {
        assert!(call(&mut replica, &mut store, &time, &rules(1000)));
        time.advance(20);
        replica.book.tick();
        replica.exchange(&mut store, &time);
    }
    // Much is free of what the higher limit granted.
    let admitted = (0..100).filter(|_| call(&mut replica, &mut store, &time, &rules(50)));
    assert_eq!(admitted.count(), 10);
    let admitted = (0..100).filter(|_| call(&mut replica, &mut store, &time, &rules(70)));
    assert_eq!(admitted.count(), 20, "and one that is raised");
}

#[test]
fn who_gives_back_a_seconds_slot_gives_back_its_own() {
    let (mut replica, mut store, time) = one();
    let second = Window::Sliding(Duration::from_secs(1));
    let rules = [rule(Measure::Requests, second, 2)];
    assert!(call(&mut replica, &mut store, &time, &rules));
    let slow = replica.running.pop().unwrap();
    // Long after it has slid out, somebody else fills the second.
    time.advance(1500);
    for _ in 0..2 {
        assert!(call(&mut replica, &mut store, &time, &rules));
    }
    slow.not_sent();
    drop(slow);
    assert!(!call(&mut replica, &mut store, &time, &rules));
}

#[test]
fn many_limits_are_asked_for_together() {
    let (mut replica, mut store, time) = one();
    let rules: Vec<Rule> = (0..40)
        .map(|n| {
            let limit = Limit {
                name: format!("limit-{n}").into(),
                ..(*rule(Measure::Requests, minutes(), 100).limit).clone()
            };
            Rule::new("", Arc::new(limit))
        })
        .collect();
    assert_eq!(replica.call(&rules, ONE), 0);
    assert_eq!(replica.exchange(&mut store, &time), 1, "by one exchange");
}

/// The exchange goes on at once where somebody asks: before those who wait look again.
#[test]
fn who_comes_while_the_store_answers_is_heard_with_the_next_round() {
    let (mut replica, mut store, time) = one();
    let rules = [rule(Measure::Requests, minutes(), 2)];
    assert!(call(&mut replica, &mut store, &time, &rules));
    replica.book.tick();
    let mut under_way = replica.book.round();
    assert_eq!(under_way.draws().len(), 1, "what was used is told");
    let mut admitted = replica.call(&rules, ONE);
    for _ in 0..20 {
        let drawn = store.draw(replica.id, under_way.draws(), time.now());
        replica.book.answered(under_way, Some(drawn));
        under_way = replica.book.round();
        admitted += replica.poll();
    }
    assert_eq!((admitted, replica.fallen.len()), (1, 0));
}

#[test]
fn a_sweep_leaves_what_is_counted_and_what_somebody_has() {
    let (mut replica, mut store, time) = one();
    let rules = [rule(Measure::Requests, minutes(), 10)];
    let left = |replica: &Replica| {
        replica.book.sweep();
        let mut left = 0;
        replica.book.each(|_, _, _| left += 1);
        left
    };
    assert!(call(&mut replica, &mut store, &time, &rules));
    replica.book.tick();
    replica.exchange(&mut store, &time);
    assert_eq!(left(&replica), 1, "a call runs");
    replica.running.clear();
    replica.book.tick();
    replica.exchange(&mut store, &time);
    assert_eq!(
        left(&replica),
        1,
        "what it used counts until the minute ends"
    );
    time.advance(PERIOD);
    replica.book.tick();
    replica.exchange(&mut store, &time);
    assert_eq!(left(&replica), 0);
    let bucket = replica.book.bucket(&rules[0], "");
    assert_eq!(left(&replica), 1, "somebody has it");
    drop(bucket);
    assert_eq!(left(&replica), 0);
}

#[test]
fn all_who_come_when_a_minute_begins_take_of_one_account() {
    let (replica, _, time) = one();
    let (book, rule) = (&replica.book, &rule(Measure::Requests, minutes(), 10));
    let bucket = &book.bucket(rule, "");
    for _ in 0..200 {
        time.advance(PERIOD);
        let look = || book.account(bucket, &rule.limit);
        let accounts = std::thread::scope(|scope| {
            let others = [scope.spawn(look), scope.spawn(look)];
            others.map(|other| other.join().unwrap())
        });
        assert_eq!(accounts[0].period().start, time.now());
        assert!(Arc::ptr_eq(&accounts[0], &accounts[1]));
    }
}
