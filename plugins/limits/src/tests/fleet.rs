//! Replicas, and a store that is told and asked by them as over a network: what they say may come
//! late, twice or never, and so may its answers.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use turnpike_api::{
    Calendar, Clock, Draw, Drawn, Grant, Level, Limit, Measure, OnUnavailable, Period, Window,
};

use crate::book::Book;
use crate::reservation::{Expected, Fallen, Reservation};
use crate::rules::Rule;

pub(super) const LEASE: Duration = Duration::from_secs(10);
/// A period of the limits that have one.
pub(super) const PERIOD: u64 = 60_000;

/// The time of all, in milliseconds.
#[derive(Clone, Default)]
pub(super) struct Time(Arc<AtomicU64>);

impl Time {
    pub(super) fn at(now: u64) -> Self {
        Self(Arc::new(AtomicU64::new(now)))
    }

    pub(super) fn advance(&self, by: u64) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }

    pub(super) fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A machine's own clock: so much ahead of the true time, or behind.
struct Skewed(Time, i64);

impl Clock for Skewed {
    fn now(&self) -> u64 {
        self.0.now().saturating_add_signed(self.1)
    }
}

/// Periods of a minute, each a whole one since 1970.
struct Minutes;

impl Calendar for Minutes {
    fn period(&self, now: u64) -> Period {
        let start = now / PERIOD * PERIOD;
        let end = start + PERIOD;
        Period { start, end }
    }
}

pub(super) fn rule(measure: Measure, window: Window, most: u64) -> Rule {
    let limit = Limit {
        name: "limit".into(),
        level: Level::Tenant,
        only: None,
        measure,
        window,
        most,
        on_unavailable: OnUnavailable::Deny,
    };
    Rule::new("", Arc::new(limit))
}

pub(super) fn minutes() -> Window {
    window("minute")
}

/// Called so, and a minute long.
pub(super) fn window(name: &'static str) -> Window {
    Window::Calendar(name, Arc::new(Minutes))
}

/// What a store of a fleet does, in memory.
#[derive(Default)]
pub(super) struct Shared {
    pub(super) entries: BTreeMap<(Arc<str>, u64), BTreeMap<u32, Entry>>,
    pub(super) epoch: u64,
    pub(super) replicas: u32,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    turn: u64,
    total: u64,
    used: u64,
    until: u64,
}

impl Shared {
    pub(super) fn draw(&mut self, replica: u32, draws: &[Draw], now: u64) -> Drawn {
        let grants = draws.iter().map(|draw| self.one(replica, draw, now));
        let grants = grants.collect();
        Drawn {
            grants,
            now,
            replicas: self.replicas,
            epoch: self.epoch,
        }
    }

    fn one(&mut self, replica: u32, draw: &Draw, now: u64) -> Grant {
        let key = (draw.bucket.clone(), draw.period.start);
        let entries = self.entries.entry(key).or_default();
        let counts = |other: &Entry| !draw.returns || now < other.until;
        let others: u64 = entries
            .iter()
            .filter(|(other, entry)| **other != replica && counts(entry))
            .map(|(_, entry)| entry.total)
            .sum();
        let of_others = entries.iter().filter(|(other, _)| **other != replica);
        let used = of_others.map(|(_, entry)| entry.used).sum::<u64>() + draw.used;
        let left = draw.left(others);
        if entries
            .get(&replica)
            .is_some_and(|entry| draw.turn <= entry.turn)
        {
            return Grant {
                units: 0,
                left,
                used,
            };
        }
        let units = match draw.period.contains(now) {
            true => draw.grant(others, self.replicas),
            false => 0,
        };
        let entry = Entry {
            turn: draw.turn,
            total: draw.total + units,
            used: draw.used,
            until: now + LEASE.as_millis() as u64,
        };
        entries.insert(replica, entry);
        Grant {
            units,
            left: left - units,
            used,
        }
    }
}

type Call = Pin<Box<dyn Future<Output = Result<Reservation, Fallen>>>>;

/// A process.
pub(super) struct Replica {
    pub(super) id: u32,
    pub(super) book: Arc<Book>,
    waiting: Vec<Call>,
    pub(super) running: Vec<Reservation>,
    pub(super) fallen: Vec<Fallen>,
    /// The periods of the first limit of all calls that were admitted.
    pub(super) periods: Vec<u64>,
}

impl Replica {
    pub(super) fn new(id: u32, time: &Time, skew: i64) -> Self {
        let clock = Arc::new(Skewed(time.clone(), skew));
        Self {
            id,
            book: Arc::new(Book::new(clock, LEASE)),
            waiting: Vec::new(),
            running: Vec::new(),
            fallen: Vec::new(),
            periods: Vec::new(),
        }
    }

    /// A call begins, and waits if it has to. The number of calls that are admitted by that.
    pub(super) fn call(&mut self, rules: &[Rule], expected: Expected) -> usize {
        let (book, rules) = (self.book.clone(), rules.to_vec());
        self.waiting.push(Box::pin(async move {
            let rules: Vec<_> = rules.iter().map(|rule| (rule, "")).collect();
            book.reserve(&rules, expected).await
        }));
        self.poll()
    }

    /// Lets those who wait look again. The number of calls that are admitted by that.
    pub(super) fn poll(&mut self) -> usize {
        let mut admitted = 0;
        let mut context = Context::from_waker(Waker::noop());
        let mut at = 0;
        while at < self.waiting.len() {
            match self.waiting[at].as_mut().poll(&mut context) {
                Poll::Pending => at += 1,
                Poll::Ready(outcome) => {
                    drop(self.waiting.remove(at));
                    match outcome {
                        Ok(reservation) => {
                            reservation.sent();
                            let period = reservation.limits().next().map(|(_, of)| of.period());
                            self.periods.extend(period.map(|period| period.start));
                            self.running.push(reservation);
                            admitted += 1;
                        }
                        Err(fallen) => self.fallen.push(fallen),
                    }
                }
            }
        }
        admitted
    }

    pub(super) fn waits(&self) -> usize {
        self.waiting.len()
    }

    /// Says what there is to say, and hears the answer.
    pub(super) fn exchange(&mut self, store: &mut Shared, time: &Time) -> usize {
        let round = self.book.round();
        let drawn = store.draw(self.id, round.draws(), time.now());
        self.book.answered(round, Some(drawn));
        self.poll()
    }
}
