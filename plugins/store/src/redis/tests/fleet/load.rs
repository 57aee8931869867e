//! Workers that call, and what they count.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Mutex;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;
use turnpike_limits::{Expected, Fallen, Reservation, Spent, Why};

use super::*;

pub(super) const REPLICAS: usize = 8;
const WORKERS: usize = 64;
/// Of a token, in millionths of a US dollar.
pub(super) const PRICE: u64 = 3;
/// The length of the periods of limits that have any, in milliseconds.
pub(super) const MINUTE: u64 = 60_000;

/// What all workers of all replicas do together.
pub(super) struct Load {
    rule: Rule,
    /// How long calls last, in milliseconds.
    lasts: Range<u64>,
    calls: AtomicU64,
    begun: watch::Sender<u64>,
    /// Of each period, by when it begins; 0 where there is but one.
    taken: Mutex<BTreeMap<u64, Taken>>,
    refused: AtomicU64,
    /// What was left whenever somebody was refused, added up.
    left: AtomicU64,
    away: AtomicU64,
    /// Admitted of a period that did not run by the server's clock.
    astray: AtomicU64,
    /// The most rounds without an answer that anybody waited for.
    waited: AtomicU64,
}

/// What was taken of the limit in one of its periods.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Taken {
    pub(super) admitted: u64,
    /// What runs, as reserved, and what is over, as used, but no more than was reserved.
    charged: u64,
    most_charged: u64,
    /// What was used of calls that are over; of running calls nothing.
    used: u64,
    /// Of these: more than was reserved.
    beyond: u64,
    /// Refused while as much was left, and a hundredth of the limit more.
    pub(super) affordable: u64,
}

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

impl Load {
    pub(super) fn new(rule: Rule) -> Arc<Self> {
        Self::of_calls(4..30, rule)
    }

    pub(super) fn of_calls(lasts: Range<u64>, rule: Rule) -> Arc<Self> {
        Arc::new(Self {
            rule,
            lasts,
            calls: AtomicU64::new(0),
            begun: watch::Sender::new(0),
            taken: Mutex::default(),
            refused: AtomicU64::new(0),
            left: AtomicU64::new(0),
            away: AtomicU64::new(0),
            astray: AtomicU64::new(0),
            waited: AtomicU64::new(0),
        })
    }

    pub(super) fn rule(&self) -> &Rule {
        &self.rule
    }

    /// Every worker of every replica calls, until there were so many calls more.
    pub(super) async fn run(self: &Arc<Self>, replicas: &[Arc<Replica>], calls: u64) {
        self.calls.fetch_add(calls, Ordering::Relaxed);
        let mut workers = JoinSet::new();
        for replica in replicas {
            for _ in 0..WORKERS {
                let (load, replica) = (self.clone(), replica.clone());
                workers.spawn(async move {
                    while load.begins() {
                        tokio::select! {
                            () = load.call(&replica) => {}
                            () = replica.is_killed() => break,
                        }
                    }
                });
            }
        }
        while let Some(ended) = workers.join_next().await {
            ended.unwrap();
        }
    }

    fn begins(&self) -> bool {
        self.begun.send_if_modified(|begun| {
            let is_one = *begun < get(&self.calls);
            *begun += u64::from(is_one);
            is_one
        })
    }

    /// So many more calls begin, however many were said.
    pub(super) fn end_after(&self, calls: u64) {
        let begun = *self.begun.borrow();
        self.calls.store(begun + calls, Ordering::Relaxed);
    }

    /// Until so many calls have begun.
    pub(super) async fn has_begun(&self, calls: u64) {
        let mut begun = self.begun.subscribe();
        begun.wait_for(|begun| *begun >= calls).await.unwrap();
    }

    /// Calls of one who does not give up while there is anything left.
    pub(super) async fn until_admitted(&self, replica: &Replica) {
        let before = replica.admitted();
        while replica.admitted() == before && self.left_of(0) > 0 {
            self.calls.fetch_add(1, Ordering::Relaxed);
            self.begun.send_modify(|begun| *begun += 1);
            self.call(replica).await;
        }
    }

    async fn call(&self, replica: &Replica) {
        let failed = replica.failed();
        let tokens = fastrand::u64(1..=1000);
        let expected = Expected {
            input: tokens,
            cost: tokens * PRICE,
            ..Expected::default()
        };
        let reserved = replica.book.reserve(&[(&self.rule, "")], expected).await;
        let waited = replica.failed() - failed;
        self.waited.fetch_max(waited, Ordering::Relaxed);
        let units = match self.rule.limit.measure {
            Measure::Tokens => expected.input,
            Measure::Usd => expected.cost,
            _ => 1,
        };
        match reserved {
            Ok(reservation) => {
                replica.admitted.fetch_add(1, Ordering::Relaxed);
                self.make(reservation, units).await;
            }
            Err(fallen) => self.refuse(units, &fallen),
        }
        sleep(Duration::from_millis(fastrand::u64(2..10))).await;
    }

    async fn make(&self, reservation: Reservation, units: u64) {
        let period = period(&reservation);
        if !period.contains(now()) {
            self.astray.fetch_add(1, Ordering::Relaxed);
        }
        self.note(period.start, |taken| {
            taken.admitted += 1;
            taken.charged += units;
            taken.most_charged = taken.most_charged.max(taken.charged);
        });
        sleep(Duration::from_millis(fastrand::u64(self.lasts.clone()))).await;
        let used = match self.rule.limit.measure {
            Measure::Tokens | Measure::Usd => fastrand::u64(0..=units * 6 / 5),
            Measure::Concurrency => 0,
            _ => 1,
        };
        reservation.sent();
        reservation.spend(Spent {
            input: used,
            cost: used,
            ..Spent::default()
        });
        self.note(period.start, |taken| {
            taken.used += used;
            taken.beyond += used.saturating_sub(units);
            taken.charged -= units.saturating_sub(used);
        });
    }

    fn refuse(&self, units: u64, fallen: &Fallen) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        if fallen.why == Why::Away {
            self.away.fetch_add(1, Ordering::Relaxed);
        }
        let period = fallen.resets_at.map_or(0, |end| end - MINUTE);
        let left = self.left_of(period);
        self.left.fetch_add(left, Ordering::Relaxed);
        if left >= units + self.rule.limit.most / 100 {
            self.note(period, |taken| taken.affordable += 1);
        }
    }

    fn note(&self, period: u64, what: impl FnOnce(&mut Taken)) {
        what(self.taken.lock().unwrap().entry(period).or_default());
    }

    /// What was taken in the period that begins then.
    pub(super) fn of(&self, period: u64) -> Taken {
        let taken = self.taken.lock().unwrap();
        taken.get(&period).copied().unwrap_or_default()
    }

    fn left_of(&self, period: u64) -> u64 {
        let taken = self.of(period);
        let most = self.rule.limit.most;
        most.saturating_sub(taken.charged + taken.beyond)
    }

    pub(super) fn outcome(&self) -> Outcome {
        let taken = self.taken.lock().unwrap();
        let sum = |part: fn(&Taken) -> u64| taken.values().map(part).sum();
        let most_charged = taken.values().map(|taken| taken.most_charged).max();
        Outcome {
            most_charged: most_charged.unwrap_or(0),
            used: sum(|taken| taken.used),
            beyond: sum(|taken| taken.beyond),
            admitted: sum(|taken| taken.admitted),
            refused: get(&self.refused),
            affordable: sum(|taken| taken.affordable),
            left_at_refusals: get(&self.left) as f64 / get(&self.refused).max(1) as f64,
            away: get(&self.away),
            astray: get(&self.astray),
            waited: get(&self.waited),
        }
    }
}

/// See [`Load`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Outcome {
    pub(super) most_charged: u64,
    pub(super) used: u64,
    pub(super) beyond: u64,
    pub(super) admitted: u64,
    pub(super) refused: u64,
    pub(super) affordable: u64,
    /// On average.
    pub(super) left_at_refusals: f64,
    pub(super) away: u64,
    pub(super) astray: u64,
    pub(super) waited: u64,
}

/// The one that it was taken of.
fn period(reservation: &Reservation) -> Period {
    let (_, account) = reservation.limits().next().unwrap();
    account.period()
}

/// A fleet on a server, and the limit that it shares.
pub(super) struct Fleet {
    pub(super) server: Server,
    pub(super) replicas: Vec<Arc<Replica>>,
    pub(super) rule: Rule,
}

impl Fleet {
    pub(super) fn start(rule: Rule, lease: Duration, open: fn(&Server) -> Redis) -> Self {
        Self::skewed(0, rule, lease, open)
    }

    /// The clock of the first one is so many milliseconds ahead.
    pub(super) fn skewed(
        ahead: i64,
        rule: Rule,
        lease: Duration,
        open: fn(&Server) -> Redis,
    ) -> Self {
        let server = Server::running();
        let start = |at| {
            let clock = Wall(if at == 0 { ahead } else { 0 });
            Replica::by(clock, format!("replica-{at}"), open(&server), lease)
        };
        let replicas = (0..REPLICAS).map(start).collect();
        Self {
            server,
            replicas,
            rule,
        }
    }

    pub(super) fn rounds(&self) -> u64 {
        self.replicas.iter().map(|replica| replica.rounds()).sum()
    }

    pub(super) fn failed(&self) -> u64 {
        self.replicas.iter().map(|replica| replica.failed()).sum()
    }

    pub(super) async fn close(&self) {
        for replica in &self.replicas {
            replica.close().await;
        }
    }

    /// Until every replica goes by as many as there are.
    pub(super) async fn know_each_other(&self) {
        let knows = |replica: &Arc<Replica>| replica.book.replicas() as usize == REPLICAS;
        while !self.replicas.iter().all(knows) {
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Until every replica has found out whether the store is there.
    pub(super) async fn are_away(&self, away: bool) {
        while self
            .replicas
            .iter()
            .any(|replica| replica.book.is_away() != away)
        {
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// What the server keeps of the limit: all that was granted, all that was used.
    pub(super) fn kept(&self) -> (u64, u64) {
        self.kept_in(0)
    }

    /// The same, of the period that begins then.
    pub(super) fn kept_in(&self, period: u64) -> (u64, u64) {
        self.server
            .ask(&["HMGET", &self.key(period), "total", "used"])
    }

    /// What it keeps of one replica: the total and what was used.
    pub(super) fn kept_of(&self, replica: &Replica) -> Option<(u64, u64)> {
        let field = format!("={}", replica.line.name);
        let entry: Option<String> = self.server.ask(&["HGET", &self.key(0), &field]);
        let entry = entry?;
        let mut parts = entry.split(' ').map(|part| part.parse().unwrap());
        Some((parts.nth(1)?, parts.next()?))
    }

    /// It ends with a digest of whom it counts, of whom there is one.
    fn key(&self, period: u64) -> String {
        let limit = &self.rule.limit;
        let (measure, window) = (limit.measure.as_str(), limit.window.as_str());
        let any = format!("turnpike:1:{{draws.acme}}:{period}:acme|limit|{measure}|{window}|*");
        let mut keys: Vec<String> = self.server.ask(&["KEYS", &any]);
        assert!(keys.len() <= 1, "{keys:?}");
        keys.pop().unwrap_or_default()
    }
}

pub(super) fn on_one_thread(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build().unwrap();
    runtime.block_on(test);
}
