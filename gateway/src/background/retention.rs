//! Removing what has been kept for long enough.

use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};
use turnpike_api::{Clock, StoreError};
use turnpike_config::plan::RetentionPlan;
use turnpike_identity::people::{self, Retention, Swept};
use turnpike_identity::sso::session::SessionError;

use crate::clock::millis;
use crate::observe::events::StoreFailed;
use crate::runtime::Runtime;

const EVERY: Duration = Duration::from_secs(60 * 60);

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Looks, until the process ends.
pub async fn keep(runtime: Arc<Runtime>) {
    loop {
        match sweep(&runtime).await {
            Ok(swept) if swept == Swept::default() => {}
            Ok(Swept { tokens, people }) => {
                info!(tokens, people, "removed what was kept for long enough");
            }
            Err(SessionError::Store(error)) => StoreFailed {
                what: "retention",
                error: &error,
                metrics: &runtime.metrics,
            }
            .tell(),
            Err(error) => warn!(%error, "what was kept for long enough is not removed"),
        }
        let time = &runtime.board.time;
        time.sleep_until(time.now() + millis(EVERY)).await;
    }
}

async fn sweep(runtime: &Runtime) -> Result<Swept, SessionError> {
    let (store, now) = (&*runtime.store, runtime.board.time.now());
    let RetentionPlan {
        revoked_tokens,
        absent_people,
        usage,
    } = runtime.snapshot().retention;
    forget_usage(runtime, usage, now).await?;
    let days = |days: Option<u32>| days.map(|days| DAY * days);
    let retention = Retention {
        revoked_tokens: days(revoked_tokens),
        absent_people: days(absent_people),
    };
    people::sweep(store, retention, now).await
}

async fn forget_usage(runtime: &Runtime, days: Option<u32>, now: u64) -> Result<(), StoreError> {
    let today = u32::try_from(now / millis(DAY)).unwrap_or(u32::MAX);
    match days {
        Some(days) => runtime.store.forget_usage(today.saturating_sub(days)).await,
        None => Ok(()),
    }
}
