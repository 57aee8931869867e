//! Replicas with a real book each, which share limits over a real server under load.

mod exact;
mod faults;
mod load;
mod skew;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use turnpike_api::{Level, Limit, Measure, OnUnavailable, Period, Window};
use turnpike_limits::{Book, HAND_BACK, Round, Rule, TICK};

use super::*;

const LEASE: Duration = Duration::from_secs(10);
const HEARTBEAT: Duration = Duration::from_secs(1);

/// The machine's clock, by which the server goes, too.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

/// A replica's clock, so many milliseconds ahead of the machine's.
struct Wall(i64);

impl Clock for Wall {
    fn now(&self) -> u64 {
        now().saturating_add_signed(self.0)
    }
}

fn rule(measure: Measure, window: Window, most: u64) -> Rule {
    let limit = Limit {
        name: "limit".into(),
        level: Level::Tenant,
        only: None,
        measure,
        window,
        most,
        on_unavailable: OnUnavailable::Deny,
    };
    Rule::new("acme", Arc::new(limit))
}

/// A process, with the task that carries its rounds as a gateway's does.
struct Replica {
    book: Arc<Book>,
    line: Arc<Line>,
    carrying: JoinHandle<((), ())>,
    killed: watch::Sender<bool>,
    admitted: AtomicU64,
}

struct Line {
    name: String,
    lease: Duration,
    store: Redis,
    /// Rounds that came to an end.
    rounds: AtomicU64,
    /// Of these: without an answer.
    failed: AtomicU64,
}

impl Replica {
    fn start(name: String, store: Redis, lease: Duration) -> Arc<Self> {
        Self::by(Wall(0), name, store, lease)
    }

    fn by(clock: Wall, name: String, store: Redis, lease: Duration) -> Arc<Self> {
        let book = Arc::new(Book::new(Arc::new(clock), lease));
        let line = Arc::new(Line {
            name,
            lease,
            store,
            rounds: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        });
        let rounds = exchange(book.clone(), line.clone());
        let hand_back = hand_back(book.clone());
        let carrying = tokio::spawn(async { tokio::join!(rounds, hand_back) });
        Arc::new(Self {
            book,
            line,
            carrying,
            killed: watch::Sender::new(false),
            admitted: AtomicU64::new(0),
        })
    }

    fn rounds(&self) -> u64 {
        self.line.rounds.load(Ordering::Relaxed)
    }

    fn failed(&self) -> u64 {
        self.line.failed.load(Ordering::Relaxed)
    }

    fn admitted(&self) -> u64 {
        self.admitted.load(Ordering::Relaxed)
    }

    /// Without a goodbye, as by `kill -9`.
    fn kill(&self) {
        self.carrying.abort();
        self.killed.send_replace(true);
    }

    async fn is_killed(&self) {
        let mut killed = self.killed.subscribe();
        killed.wait_for(|killed| *killed).await.unwrap();
    }

    /// Gives back what is not needed, for as long as it takes.
    async fn close(&self) {
        self.carrying.abort();
        loop {
            let failed = self.failed();
            self.line.carry(&self.book, self.book.close()).await;
            if self.failed() == failed {
                break;
            }
        }
    }
}

impl Line {
    async fn carry(&self, book: &Book, round: Round) {
        let drawn = self.store.draw(&self.name, self.lease, round.draws());
        let drawn = drawn.await.ok();
        self.rounds.fetch_add(1, Ordering::Relaxed);
        if drawn.is_none() {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
        book.answered(round, drawn);
    }
}

/// As the gateway's `background/limits.rs` does.
async fn exchange(book: Arc<Book>, line: Arc<Line>) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut said = Instant::now();
    loop {
        tokio::select! {
            _ = ticks.tick() => book.tick(),
            () = book.asked() => {}
        }
        let round = book.round();
        if round.draws().is_empty() && said.elapsed() < HEARTBEAT {
            continue;
        }
        said = Instant::now();
        line.carry(&book, round).await;
    }
}

async fn hand_back(book: Arc<Book>) {
    loop {
        book.hurried().await;
        sleep(HAND_BACK).await;
        book.hand_back();
    }
}
