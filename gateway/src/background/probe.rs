//! Looking at credentials that failed, by calls that cost nothing, so that they are back as soon
//! as they can be.
//!
//! Only faults that such a call can tell to be over are looked at: a provider that refused a key,
//! or failed, lists models again when it is well. A spent limit has its own time, and an account
//! without credit lists models all the same.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use tokio::time::timeout;
use turnpike_api::Clock;

use super::super::clock::millis;
use crate::observe::events::{CredentialProbed, CredentialRecovered};
use crate::runtime::Runtime;
use crate::upstream::Credential;
use crate::upstream::call::{self, CallError, Listed};

/// A store that has not answered by then is one that is away.
const CLAIMED_IN: Duration = Duration::from_secs(1);

/// As many are looked at at once.
const AT_ONCE: usize = 256;

/// Looks every `auth.cooldown.probe_interval`, until the process ends.
pub async fn probe(runtime: Arc<Runtime>) {
    let time = &runtime.board.time;
    let mut next = time.now();
    let mut first = 0;
    loop {
        let interval = runtime.snapshot().probe_interval;
        next = (next + millis(interval)).max(time.now());
        time.sleep_until(next).await;
        next = time.now();
        // What is not answered by then is not waited for: the next look may find it well.
        tokio::select! {
            () = round(&runtime, interval, first) => {}
            () = time.sleep_until(next + millis(interval)) => {}
        }
        // Where looks hang, others have their turn.
        first += AT_ONCE;
    }
}

/// Looks at everything there is to look at now.
async fn round(runtime: &Runtime, interval: Duration, first: usize) {
    let snapshot = runtime.snapshot();
    let now = runtime.board.time.now();
    // Also of those that are configured no more.
    for standing in runtime.board.standings() {
        standing.sweep(now, &snapshot.back_off);
    }
    let due = snapshot
        .usable()
        .filter(|credential| !credential.standing.probed_early(now).is_empty());
    let mut due: Vec<Arc<Credential>> = due.cloned().collect();
    let first = first.checked_rem(due.len()).unwrap_or(0);
    due.rotate_left(first);
    stream::iter(due)
        .for_each_concurrent(AT_ONCE, |credential| async move {
            look(runtime, &credential, interval).await;
        })
        .await;
}

/// One call, and what it says of each of the credential's cooldowns.
async fn look(runtime: &Runtime, credential: &Arc<Credential>, interval: Duration) {
    let Some(path) = credential.vendor.plugin.model_list() else {
        return;
    };
    let claim = format!("probe/{}", credential.id);
    // One replica looks. A store that is away must not keep credentials away too.
    let claiming = runtime.store.claim(&claim, runtime.name(), interval);
    if timeout(CLAIMED_IN, claiming).await == Ok(Ok(false)) {
        return;
    }
    let began = runtime.board.time.now();
    // One that hangs leaves its place to another in time.
    let until = began + millis(interval) / 2;
    let listed = tokio::select! {
        listed = call::model_list(runtime, credential, path) => listed,
        () = runtime.board.time.sleep_until(until) => Listed::Broken(CallError::TimedOut {
            endpoint: credential.endpoint.to_string(),
        }),
    };
    let standing = &credential.standing;
    let mut recovered = false;
    for model in standing.probed_early(began) {
        let well = match (&listed, &model) {
            (Listed::Good(_), None) => true,
            (Listed::Good(body), Some(model)) => !lacks(body, model, credential, began),
            (Listed::Refused(_) | Listed::Broken(_), _) => false,
        };
        if !well {
            continue;
        }
        recovered = true;
        if standing.found_well(model.as_deref(), began, runtime.board.time.now()) {
            CredentialRecovered {
                credential,
                model: model.as_deref(),
                by: "probe",
                metrics: &runtime.metrics,
                audit: &runtime.audit,
            }
            .tell();
        }
    }
    if recovered {
        runtime.board.cooldowns_changed(standing);
    }
    CredentialProbed {
        credential,
        listed: &listed,
        metrics: &runtime.metrics,
    }
    .tell();
}

/// Whether a model that was not found is still not listed.
fn lacks(list: &[u8], model: &str, credential: &Credential, now: u64) -> bool {
    credential.standing.is_not_found(model, now) && !call::lists(list, model)
}
