//! Fetching the keys of issuers before they are too old, so that no request has to wait for them.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;

use crate::runtime::Runtime;

const EVERY: Duration = Duration::from_secs(60);

/// Looks, until the process ends. What fails is told where it is fetched, and tried again.
pub async fn keep_fresh(runtime: Arc<Runtime>) {
    loop {
        let all = runtime.issuers_keys.all();
        join_all(all.iter().map(|keys| keys.keep_fresh())).await;
        drop(all);
        tokio::time::sleep(EVERY).await;
    }
}
