//! What replicas share of limits: carried to the store and back, off the requests' way.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tracing::debug;
use turnpike_api::StoreError;
use turnpike_limits::{Book, HAND_BACK, Round, TICK};

use crate::observe::events::LimitsShared;
use crate::runtime::Runtime;

/// What is held of calls that run is another's when it was not renewed for so long.
pub const LEASE: Duration = Duration::from_secs(10);

/// The store hears of a replica this often, also when there is nothing to say.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// A store that has a network in between has a shorter patience of its own. This is for a disk that
/// hangs without a word: calls wait no longer for it.
const PATIENCE: Duration = Duration::from_secs(10);

/// The same at the process's end: what comes after it needs time, too, and others notice by themselves.
const AT_THE_END: Duration = Duration::from_secs(2);

/// Buckets that are not needed any more are looked for this often.
const SWEEP: Duration = Duration::from_secs(60);

/// Exchanges with the store, until the process ends.
pub async fn exchange(runtime: Arc<Runtime>) {
    tokio::join!(rounds(&runtime), hand_back(&runtime.limits));
}

/// Sleeps where no limit is near.
async fn hand_back(book: &Book) {
    loop {
        book.hurried().await;
        sleep(HAND_BACK).await;
        book.hand_back();
    }
}

async fn rounds(runtime: &Runtime) {
    let book = &runtime.limits;
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut said, mut swept) = (Instant::now(), Instant::now());
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
        carry(runtime, round).await;
        if swept.elapsed() >= SWEEP {
            swept = Instant::now();
            book.sweep();
        }
    }
}

/// Gives back what is not needed, and has the others know that there is one less of them: the process
/// ends.
pub async fn flush(runtime: &Runtime) {
    let leaving = async {
        carry(runtime, runtime.limits.close()).await;
        let left = runtime.store.draw(runtime.name(), Duration::ZERO, &[]);
        left.await
    };
    if !matches!(timeout(AT_THE_END, leaving).await, Ok(Ok(_))) {
        debug!("other replicas notice by themselves that this one has ended");
    }
}

async fn carry(runtime: &Runtime, round: Round) {
    let drawn = runtime.store.draw(runtime.name(), LEASE, round.draws());
    let drawn = timeout(PATIENCE, drawn)
        .await
        .unwrap_or_else(|_| Err(late()));
    let error = drawn.as_ref().err().cloned();
    if error.is_some() {
        // Each counts, also of those that one line in the log tells of: an alert has to see that they last.
        runtime.metrics.store_failed("limits");
    }
    if runtime.limits.answered(round, drawn.ok()) {
        let replicas = runtime.limits.replicas();
        LimitsShared { error, replicas }.tell();
    }
}

fn late() -> StoreError {
    let seconds = PATIENCE.as_secs();
    StoreError::Unavailable(format!("it gave no answer within {seconds} s"))
}
