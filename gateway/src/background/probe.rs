//! Looking at credentials that failed, by calls that cost nothing, so that they are back as soon
//! as they can be.
//!
//! Only faults that such a call can tell to be over are looked at: a provider that refused a key,
//! or failed, lists models again when it is well. A spent limit has its own time, and an account
//! without credit lists models all the same.

use std::collections::HashSet;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream;
use tokio::sync::Mutex;
use turnpike_api::Clock;

use super::super::clock::millis;
use crate::observe::events::{CredentialProbed, CredentialRecovered};
use crate::runtime::Runtime;
use crate::upstream::Credential;
use crate::upstream::call::{self, Listed};

/// As many are looked at at once.
const AT_ONCE: usize = 16;

/// Looks every `auth.cooldown.probe_interval`, until the process ends.
pub async fn probe(runtime: Arc<Runtime>) {
    let mut next = runtime.board.time.now();
    // A look that hangs does not keep the others waiting, and is not doubled.
    let under_way: Arc<Mutex<HashSet<Arc<str>>>> = Arc::default();
    loop {
        next += millis(runtime.snapshot().probe_interval);
        runtime.board.time.sleep_until(next).await;
        next = next.max(runtime.board.time.now());
        tokio::spawn(round(runtime.clone(), under_way.clone()));
    }
}

/// Looks at everything there is to look at now.
async fn round(runtime: Arc<Runtime>, under_way: Arc<Mutex<HashSet<Arc<str>>>>) {
    let snapshot = runtime.snapshot();
    let now = runtime.board.time.now();
    let due = snapshot
        .usable()
        .filter(|credential| !credential.standing.probed_early(now).is_empty());
    let due: Vec<Arc<Credential>> = due.cloned().collect();
    stream::iter(due)
        .for_each_concurrent(AT_ONCE, |credential| {
            let (runtime, under_way) = (&runtime, &under_way);
            async move {
                if under_way.lock().await.insert(credential.id.clone()) {
                    look(runtime, &credential).await;
                    under_way.lock().await.remove(&credential.id);
                }
            }
        })
        .await;
}

/// One call, and what it says of each of the credential's cooldowns.
async fn look(runtime: &Runtime, credential: &Arc<Credential>) {
    let Some(path) = credential.vendor.plugin.model_list() else {
        return;
    };
    let claim = format!("probe/{}", credential.id);
    let ttl = runtime.snapshot().probe_interval;
    // One replica looks. A store that is away must not keep credentials away too.
    let mine = runtime.store.claim(&claim, runtime.name(), ttl).await;
    if mine == Ok(false) {
        return;
    }
    let began = runtime.board.time.now();
    let listed = call::model_list(runtime, credential, path).await;
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
