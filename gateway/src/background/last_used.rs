//! Writing down who presented which agent token last.

use std::sync::Arc;
use std::time::Duration;

use turnpike_api::{Directory, Expected, StoreError};
use turnpike_identity::agent_tokens::{LastUse, USE};

use crate::observe::events::StoreFailed;
use crate::runtime::Runtime;

/// A listing is that much behind, and a process that is killed loses as much of it.
const EVERY: Duration = Duration::from_secs(30);

/// A token that nobody presented for so long is not known to have been used.
const KEPT: Duration = Duration::from_secs(400 * 24 * 60 * 60);

/// Writes, until the process ends.
pub async fn keep(runtime: Arc<Runtime>) {
    loop {
        tokio::time::sleep(EVERY).await;
        flush(&runtime).await;
    }
}

/// Writes what is not written yet.
pub async fn flush(runtime: &Runtime) {
    if let Err(error) = &write(runtime).await {
        let (what, metrics) = ("token_use", &runtime.metrics);
        StoreFailed {
            what,
            error,
            metrics,
        }
        .tell();
    }
}

async fn write(runtime: &Runtime) -> Result<(), StoreError> {
    let mut unwritten = Unwritten {
        runtime,
        uses: runtime.agent_tokens.take_uses(),
    };
    while let Some((id, last)) = unwritten.uses.last() {
        if let Ok(value) = serde_json::to_vec(last) {
            let store = &*runtime.store;
            Directory::put(store, USE, id, &value, Some(KEPT), Expected::Anything).await?;
        }
        unwritten.uses.pop();
    }
    Ok(())
}

/// What is being written. What is not when this ends is to be written again.
struct Unwritten<'r> {
    runtime: &'r Runtime,
    uses: Vec<(String, LastUse)>,
}

impl Drop for Unwritten<'_> {
    fn drop(&mut self) {
        for (id, last) in self.uses.drain(..) {
            self.runtime.agent_tokens.put_back(&id, last);
        }
    }
}
