//! What must hold whatever happens: replicas that are killed, freeze, have wrong clocks; messages
//! that come late, twice or never.

use std::collections::HashMap;

use turnpike_api::{Draw, Measure, Window};

use super::fleet::{LEASE, PERIOD, Replica, Shared, Time, minutes, rule};
use crate::reservation::{Expected, Reservation, Spent};
use crate::rules::Rule;

const HISTORIES: u64 = 100_000;
const STEPS: usize = 40;
const REPLICAS: usize = 3;

/// Something a replica said that has not arrived.
struct Message {
    replica: u32,
    draws: Vec<Draw>,
}

struct History {
    rng: fastrand::Rng,
    time: Time,
    store: Shared,
    replicas: Vec<Replica>,
    /// By a replica's place: it does nothing.
    frozen: [bool; REPLICAS],
    /// Likewise, until when it holds what was leased to it.
    leased: [u64; REPLICAS],
    /// Likewise, calls that run without a slot.
    lapsed: [Vec<Reservation>; REPLICAS],
    late: Vec<Message>,
    next_id: u32,
    rules: Vec<Rule>,
    expected: Expected,
    /// Tokens, by calls that are over.
    spent: u64,
}

impl History {
    fn new(seed: u64, rules: Vec<Rule>, expected: Expected) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let time = Time::at(100 * PERIOD + rng.u64(0..PERIOD));
        let mut history = Self {
            store: Shared {
                replicas: REPLICAS as u32,
                ..Shared::default()
            },
            rng,
            time,
            replicas: Vec::new(),
            frozen: [false; REPLICAS],
            leased: [0; REPLICAS],
            lapsed: Default::default(),
            late: Vec::new(),
            next_id: 0,
            rules,
            expected,
            spent: 0,
        };
        for _ in 0..REPLICAS {
            let replica = history.process();
            history.replicas.push(replica);
        }
        history
    }

    fn process(&mut self) -> Replica {
        let skew = [0, 0, 300_000, -300_000][self.rng.usize(0..4)];
        self.next_id += 1;
        Replica::new(self.next_id, &self.time, skew)
    }

    /// Something happens. Answers with the calls that were admitted by it.
    fn step(&mut self) -> usize {
        let at = self.rng.usize(0..REPLICAS);
        let what = self.rng.u32(0..100);
        if self.frozen[at] {
            if what < 40 {
                self.frozen[at] = false;
            } else if what < 60 {
                self.time
                    .advance(self.rng.u64(0..2 * LEASE.as_millis() as u64));
            }
            return 0;
        }
        match what {
            0..40 => self.replicas[at].call(&self.rules, self.expected),
            40..55 => self.end_one(at),
            55..80 => self.exchange(at),
            80..82 => {
                self.replicas[at].book.tick();
                0
            }
            82..84 => {
                self.replicas[at].book.hand_back();
                0
            }
            84..88 => self.arrive_late(),
            88..94 => {
                let by = self.rng.u64(0..3000);
                self.time.advance(by);
                0
            }
            94..96 => {
                self.frozen[at] = true;
                0
            }
            96..98 => {
                // Killed. Nobody knows what its calls have used.
                let running = self.replicas[at].running.len() as u64;
                self.spent += running * self.expected.input;
                let next = self.process();
                let killed = std::mem::replace(&mut self.replicas[at], next);
                let calls = killed.running.into_iter().chain(self.lapsed[at].drain(..));
                calls.for_each(std::mem::forget);
                0
            }
            _ => {
                let round = self.replicas[at].book.close();
                self.said(at, round)
            }
        }
    }

    fn end_one(&mut self, at: usize) -> usize {
        if self.rng.bool() {
            self.lapsed[at].pop();
        }
        let running = self.replicas[at].running.len();
        if running > 0 {
            let call = self.replicas[at]
                .running
                .swap_remove(self.rng.usize(0..running));
            let input = self.rng.u64(0..=self.expected.input);
            self.spent += input;
            call.spend(Spent {
                input,
                ..Spent::default()
            });
        }
        0
    }

    fn exchange(&mut self, at: usize) -> usize {
        let round = self.replicas[at].book.round();
        self.said(at, round)
    }

    fn said(&mut self, at: usize, round: crate::Round) -> usize {
        let replica = self.replicas[at].id;
        let message = Message {
            replica,
            draws: round.draws().to_vec(),
        };
        let answer = match self.rng.u32(0..10) {
            // Lost on its way.
            0 => None,
            // Held up.
            1 => {
                self.late.push(message);
                None
            }
            fate => {
                let drawn = self.store.draw(replica, round.draws(), self.time.now());
                // Twice; or the answer is lost.
                if fate == 2 {
                    self.late.push(message);
                }
                (fate != 3).then_some(drawn)
            }
        };
        if answer.is_some() && !round.draws().is_empty() {
            self.leased[at] = self.time.now() + LEASE.as_millis() as u64;
        }
        let by = self.rng.u64(0..30);
        self.time.advance(by);
        self.replicas[at].book.answered(round, answer);
        self.replicas[at].poll()
    }

    fn arrive_late(&mut self) -> usize {
        if !self.late.is_empty() {
            let message = self.late.swap_remove(self.rng.usize(0..self.late.len()));
            let now = self.time.now();
            self.store.draw(message.replica, &message.draws, now);
        }
        0
    }

    /// The calls that run with a slot that is their replica's. Of a replica that was cut off for as
    /// long as its lease lasts, those that run lose theirs: they go on, and count no more.
    fn running(&mut self) -> usize {
        let now = self.time.now();
        for (at, replica) in self.replicas.iter_mut().enumerate() {
            if now >= self.leased[at] {
                self.lapsed[at].append(&mut replica.running);
            }
        }
        self.replicas.iter().map(|one| one.running.len()).sum()
    }
}

#[test]
fn no_more_calls_are_admitted_than_there_may_be() {
    for seed in 0..HISTORIES {
        let most = 1 + seed % 23;
        let rules = vec![rule(Measure::Requests, Window::Total, most)];
        let mut history = History::new(seed, rules, Expected::default());
        let mut admitted = 0;
        for step in 0..STEPS {
            admitted += history.step() as u64;
            assert!(
                admitted <= most,
                "seed {seed}, step {step}: {admitted} of {most}"
            );
        }
    }
}

#[test]
fn nor_in_any_minute() {
    for seed in 0..HISTORIES / 2 {
        let most = 1 + seed % 7;
        let rules = vec![rule(Measure::Requests, minutes(), most)];
        let mut history = History::new(seed, rules, Expected::default());
        let mut admitted: HashMap<u64, u64> = HashMap::new();
        for step in 0..STEPS {
            if history.rng.u32(0..20) == 0 {
                history.time.advance(PERIOD / 2);
            }
            history.step();
            let replicas = history.replicas.iter_mut();
            for period in replicas.flat_map(|replica| replica.periods.drain(..)) {
                let admitted = admitted.entry(period).or_default();
                *admitted += 1;
                assert!(
                    *admitted <= most,
                    "seed {seed}, step {step}: {admitted} of {most}"
                );
            }
        }
    }
}

#[test]
fn no_more_calls_run_than_may() {
    for seed in 0..HISTORIES {
        let most = 1 + seed as usize % 11;
        let rules = vec![rule(Measure::Concurrency, Window::Running, most as u64)];
        let mut history = History::new(seed, rules, Expected::default());
        for step in 0..STEPS {
            history.step();
            let running = history.running();
            assert!(
                running <= most,
                "seed {seed}, step {step}: {running} of {most}"
            );
        }
    }
}

/// Calls use at most what was expected of them: what they used never passes the limit.
#[test]
fn no_more_tokens_are_used_than_may_be() {
    let expected = Expected {
        input: 40,
        ..Expected::default()
    };
    for seed in 0..HISTORIES / 2 {
        let most = 40 + seed % 400;
        let rules = vec![
            rule(Measure::Tokens, Window::Total, most),
            rule(Measure::Concurrency, Window::Running, 3),
        ];
        let mut history = History::new(seed, rules, expected);
        for step in 0..STEPS {
            history.step();
            let running = history.replicas.iter().map(|one| one.running.len() as u64);
            let used = history.spent + running.sum::<u64>() * expected.input;
            assert!(used <= most, "seed {seed}, step {step}: {used} of {most}");
        }
    }
}
