//! What other processes with the same store have to say: the command line beside this gateway, and
//! other replicas.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use turnpike_api::{Clock, Store, StoreError};
use turnpike_audit::events::TokenHeard;
use turnpike_identity::agent_tokens;

use super::{affinity, cooldowns, quotas};
use crate::audit::state_of;
use crate::observe::events::{CredentialRecovered, StoreReached};
use crate::runtime::Runtime;

/// Somebody found a credential well; the body is its id.
const WELL: &str = "well";

/// So often the tokens are read as a whole: who changed one may have been stopped before it was
/// told.
const WHOLE_EVERY: Duration = Duration::from_secs(30);

/// How often there is a look for news: of commands beside this gateway, and of other replicas.
const EVERY: Duration = Duration::from_millis(500);
const EVERY_IN_A_FLEET: Duration = Duration::from_millis(100);

/// So many looks in a row without an answer are a store that is away: one may be late.
const AWAY: u32 = 3;

/// Tells a running gateway that a credential is well.
pub async fn tell_well(store: &dyn Store, id: &str) -> Result<(), StoreError> {
    store.post(WELL, id.as_bytes()).await.map(drop)
}

/// Reads the news, until the process ends.
pub async fn read(runtime: Arc<Runtime>) {
    let every = match runtime.is_fleet() {
        true => EVERY_IN_A_FLEET,
        false => EVERY,
    };
    let mut reader = Reader::default();
    let mut failures = 0u32;
    loop {
        let read = reader.look(&runtime).await;
        let error = read.as_ref().err();
        failures = error.map_or(0, |_| failures.saturating_add(1));
        if error.is_some() {
            // Each counts, also of those that one line in the log tells of: an alert has to see that they last.
            runtime.metrics.store_failed("news");
        }
        if (error.is_none() || failures >= AWAY) && runtime.store_is(error) {
            StoreReached { error }.tell();
        }
        runtime.board.time.follow();
        tokio::time::sleep(every).await;
    }
}

/// Up to where the news were read.
#[derive(Default)]
struct Reader {
    place: Option<u64>,
    /// When everything was read last; `None` = it is to be read.
    read_whole_at: Option<Instant>,
}

impl Reader {
    async fn look(&mut self, runtime: &Runtime) -> Result<(), StoreError> {
        let (tokens, store) = (&runtime.agent_tokens, &*runtime.store);
        let after = match self.place {
            Some(after) => after,
            // What was told before is in the records, which are read after that.
            None => store.latest().await?,
        };
        let news = store.since(after).await?;
        if news.gap {
            self.read_whole_at = None;
        }
        let read_at = self.read_whole_at;
        if read_at.is_none() && runtime.is_fleet() {
            cooldowns::hear_all(runtime).await?;
            quotas::hear_all(runtime).await?;
            // Moves may be among the news that are gone.
            runtime.affinity.forget();
        }
        if read_at.is_none_or(|read_at| read_at.elapsed() >= WHOLE_EVERY) {
            tokens.read(store).await?;
            self.read_whole_at = Some(Instant::now());
        }
        // A crowd of calls tells the same thing many times.
        let told: BTreeSet<(&str, &[u8])> = (news.notices.iter())
            .map(|notice| (&*notice.topic, &*notice.body))
            .collect();
        for (topic, body) in told {
            hear(runtime, topic, body).await?;
        }
        tokens.is_fresh();
        self.place = Some(news.next);
        Ok(())
    }
}

async fn hear(runtime: &Runtime, topic: &str, body: &[u8]) -> Result<(), StoreError> {
    let (tokens, store) = (&runtime.agent_tokens, &*runtime.store);
    match topic {
        WELL => found_well(runtime, body),
        agent_tokens::TOPIC => {
            let token_id = &String::from_utf8_lossy(body);
            tokens.read_one(token_id, store).await?;
            let state = state_of(runtime, token_id);
            runtime.audit.tell(&TokenHeard { token_id, state });
        }
        cooldowns::KIND if runtime.is_fleet() => {
            cooldowns::hear(runtime, &String::from_utf8_lossy(body)).await?;
        }
        quotas::KIND if runtime.is_fleet() => {
            quotas::hear(runtime, &String::from_utf8_lossy(body)).await?;
        }
        affinity::KIND if runtime.is_fleet() => {
            affinity::hear(runtime, &String::from_utf8_lossy(body));
        }
        quotas::USED if runtime.is_fleet() => {
            quotas::hear_used(runtime, &String::from_utf8_lossy(body));
        }
        // Of another release.
        _ => {}
    }
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
            audit: &runtime.audit,
        }
        .tell();
    }
}
