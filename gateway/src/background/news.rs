//! What other processes with the same store have to say: the command line beside this gateway.

use std::sync::Arc;
use std::time::Duration;

use turnpike_api::{Clock, Store, StoreError};
use turnpike_identity::agent_tokens;

use crate::observe::events::{CredentialRecovered, StoreFailed};
use crate::runtime::Runtime;

/// Somebody found a credential well; the body is its id.
const WELL: &str = "well";

/// So many looks apart the tokens are read as a whole: who changed one may have been stopped before
/// it was told.
const WHOLE_EVERY: u32 = 60;

/// How often there is a look for news.
const EVERY: Duration = Duration::from_millis(500);

/// Tells a running gateway that a credential is well.
pub async fn tell_well(store: &dyn Store, id: &str) -> Result<(), StoreError> {
    store.post(WELL, id.as_bytes()).await.map(drop)
}

/// Reads the news, until the process ends.
pub async fn read(runtime: Arc<Runtime>) {
    let mut place = None;
    let mut failing = false;
    let mut looks = 0u32;
    loop {
        looks = looks.wrapping_add(1);
        let whole = looks.is_multiple_of(WHOLE_EVERY);
        let read = news(&runtime, &mut place, whole).await;
        if let Err(error) = &read
            && !failing
        {
            let (what, metrics) = ("news", &runtime.metrics);
            StoreFailed {
                what,
                error,
                metrics,
            }
            .tell();
        }
        failing = read.is_err();
        runtime.board.time.follow();
        tokio::time::sleep(EVERY).await;
    }
}

async fn news(runtime: &Runtime, place: &mut Option<u64>, whole: bool) -> Result<(), StoreError> {
    let (tokens, store) = (&runtime.agent_tokens, &*runtime.store);
    let after = match *place {
        Some(after) => after,
        // What was told before is in the records, which are read after that.
        None => store.latest().await?,
    };
    let news = store.since(after).await?;
    if place.is_none() || news.gap || whole {
        tokens.read(store).await?;
    }
    for notice in &news.notices {
        match &*notice.topic {
            WELL => found_well(runtime, &notice.body),
            agent_tokens::TOPIC => {
                let id = String::from_utf8_lossy(&notice.body);
                tokens.read_one(&id, store).await?;
            }
            // Of another release.
            _ => {}
        }
    }
    tokens.is_fresh();
    *place = Some(news.next);
    Ok(())
}

/// Somebody found a credential well.
fn found_well(runtime: &Runtime, id: &[u8]) {
    let snapshot = runtime.snapshot();
    let mut usable = snapshot.usable();
    let found = usable.find(|credential| credential.id.as_bytes() == id);
    let Some(credential) = found else { return };
    let now = runtime.board.time.now();
    let mut changed = false;
    let models = credential.standing.probed_early(now).into_iter();
    // That it answers does not say that it has a model which it did not find.
    let is_told_of = |model: &Option<Box<str>>| !matches!(model, Some(model) if credential.standing.is_not_found(model, now));
    for model in models.filter(is_told_of) {
        changed |= credential.standing.found_well(model.as_deref(), now, now);
    }
    if changed {
        runtime.board.cooldowns_changed(&credential.standing);
        CredentialRecovered {
            credential,
            model: None,
            by: "operator",
            metrics: &runtime.metrics,
        }
        .tell();
    }
}
