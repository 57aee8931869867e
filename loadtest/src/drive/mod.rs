//! The load driver: connections that each send one call after the other.
//!
//! A [`Scenario`] says which calls, [`Target`] where to; [`run`] drives them
//! and brings back a [`Tally`], whose `Display` is the report.

mod caller;
mod histogram;
mod key;
mod scenario;
mod tally;
mod target;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub use histogram::Histogram;
pub use key::{Curve, Forgery, Key};
pub(crate) use key::{SECRET, claimed, secret};
pub use scenario::Scenario;
pub use tally::Tally;
pub use target::{Target, TargetError};

pub(crate) use caller::{Caller, NOT_SENT};
pub(crate) use scenario::Errand;
use scenario::Errands;

/// One run of the driver.
#[derive(Debug, Clone)]
pub struct Drive {
    pub target: Target,
    pub scenario: Scenario,
    pub key: Key,
    pub model: String,
    pub connections: usize,
    pub duration: Duration,
    /// Calls a second over all connections; `None` as fast as they are
    /// answered.
    pub rate: Option<f64>,
    /// What calls ask for as the longest answer; fake providers give the same to all.
    pub max_tokens: Option<u64>,
}

/// Counts that can be read while the run goes on.
#[derive(Debug, Default)]
pub struct Progress {
    requests: AtomicU64,
    errors: AtomicU64,
}

impl Progress {
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    pub fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    fn note(&self, failed: bool) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.errors.fetch_add(u64::from(failed), Ordering::Relaxed);
    }
}

/// Drives until the duration is over and the last calls are answered.
pub async fn run(drive: Drive, progress: Arc<Progress>) -> Tally {
    let began = Instant::now();
    let errands = Arc::new(Errands::new(&drive));
    let drive = Arc::new(drive);
    let workers: Vec<_> = (0..drive.connections)
        .map(|nth| {
            let worker = Worker {
                nth,
                began,
                drive: drive.clone(),
                errands: errands.clone(),
                progress: progress.clone(),
            };
            tokio::spawn(worker.work())
        })
        .collect();
    let mut sum = Tally::default();
    for worker in workers {
        match worker.await {
            Ok(tally) => sum.merge(tally),
            Err(_) => sum.error("driver"),
        }
    }
    sum.elapsed = began.elapsed();
    sum
}

/// One connection's part of the run.
struct Worker {
    nth: usize,
    began: Instant,
    drive: Arc<Drive>,
    errands: Arc<Errands>,
    progress: Arc<Progress>,
}

impl Worker {
    async fn work(self) -> Tally {
        let mut tally = Tally::default();
        let mut caller = Caller::new(self.drive.target.addr());
        let end = self.began + self.drive.duration;
        for n in 0.. {
            let due = self.due(n);
            if due >= end {
                break;
            }
            // A sleep that is over already still costs a turn of the timer, a millisecond.
            if due > Instant::now() {
                tokio::time::sleep_until(due.into()).await;
            }
            let key = self.drive.key.nth(self.place(n) as u64);
            let errand = self.errands.nth(self.nth + n, &key);
            let answer = caller.call(errand).await;
            self.progress.note(answer.is_err());
            tally.note(due, answer);
        }
        tally
    }

    /// When the `n`th call of this connection is due. Latency counts from
    /// then: a target that stalls is charged for the calls it kept waiting.
    fn due(&self, n: usize) -> Instant {
        let Some(rate) = self.drive.rate else {
            return Instant::now();
        };
        self.began + Duration::from_secs_f64(self.place(n) as f64 / rate)
    }

    /// Of the `n`th call of this connection, among all.
    fn place(&self, n: usize) -> usize {
        n * self.drive.connections + self.nth
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Behaviour, FakeProvider, Protocol};

    async fn drive(provider: &FakeProvider, scenario: Scenario, rate: Option<f64>) -> Tally {
        let drive = Drive {
            target: Target::parse(&provider.base_url()).unwrap(),
            scenario,
            key: Key::Same("k".to_owned()),
            model: "m".to_owned(),
            connections: 2,
            duration: Duration::from_millis(200),
            rate,
            max_tokens: Some(4),
        };
        run(drive, Arc::default()).await
    }

    #[tokio::test]
    async fn every_scenario_is_answered() {
        for scenario in Scenario::ALL {
            let provider = FakeProvider::start(Protocol::Http1).await;
            let tally = drive(&provider, scenario, Some(100.0)).await;
            assert_eq!(
                (tally.errors(), tally.requests()),
                (0, 20),
                "{scenario:?}: {tally}"
            );
            assert_eq!(provider.usage_total().calls, 20);
            // Of large ones, no body is kept.
            let mut kept = provider.calls().into_iter();
            assert!(kept.all(|call| call.body.is_empty() || call.json()["max_tokens"] == 4));
            assert_eq!(
                tally.chunks() > 0,
                !matches!(scenario, Scenario::Chat | Scenario::Large)
            );
        }
    }

    #[tokio::test]
    async fn errors_are_counted_by_kind_and_the_connection_is_made_again() {
        let provider = FakeProvider::start(Protocol::Http1).await;
        provider.script("k", [Behaviour::status(429), Behaviour::CutBeforeHead]);
        provider.script("k", [Behaviour::EndWithoutTerminal { after_events: 2 }]);
        provider.script(
            "k",
            [
                Behaviour::CutMidStream { after_events: 2 },
                Behaviour::NoKeepAlive,
            ],
        );
        let tally = drive(&provider, Scenario::Stream, Some(100.0)).await;
        assert_eq!((tally.requests(), tally.errors()), (20, 4), "{tally}");
        let report = tally.to_string();
        for kind in ["status 429", "no answer", "incomplete", "broken off"] {
            assert!(report.contains(kind), "{report}");
        }
    }
}
