//! Usage, as others are to know it: what this replica counted, and who the people are.

use std::sync::Arc;
use std::time::Duration;

use tracing::info;
use turnpike_api::{Clock, StoreError};

use crate::observe::events::StoreFailed;
use crate::runtime::Runtime;

/// What other replicas know of this one's usage is that much behind.
const EVERY: Duration = Duration::from_secs(5);

/// How failures are counted.
const WHAT: &str = "usage_shared";

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Tells, until the process ends.
pub async fn share(runtime: Arc<Runtime>) {
    let mut well = true;
    loop {
        tokio::time::sleep(EVERY).await;
        let told = tell(&runtime).await;
        // Each failure counts; one line a change is enough.
        match &told {
            Err(error) if well => failed(&runtime, error),
            Err(_) => runtime.metrics.store_failed(WHAT),
            Ok(()) if !well => info!("usage is shared again"),
            Ok(()) => {}
        }
        well = told.is_ok();
    }
}

/// Tells what was not told yet: the process ends.
pub async fn flush(runtime: &Runtime) {
    if let Err(error) = &tell(runtime).await {
        failed(runtime, error);
    }
}

fn failed(runtime: &Runtime, error: &StoreError) {
    StoreFailed {
        what: WHAT,
        error,
        metrics: &runtime.metrics,
    }
    .tell();
}

async fn tell(runtime: &Runtime) -> Result<(), StoreError> {
    let retention = runtime.snapshot().retention;
    let (store, now) = (&*runtime.store, runtime.board.time.now());
    // A name is of use for as long as there is usage of it, and is kept no longer than the person.
    let kept = [retention.usage, retention.absent_people].into_iter();
    let kept = kept.flatten().min();
    let kept = kept.map(|days| DAY * days.saturating_add(1));
    runtime.names.write(store, kept).await?;
    store.share_usage(now, retention.usage).await
}
