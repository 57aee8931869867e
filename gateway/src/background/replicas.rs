//! Which replicas serve by one store, and by which configuration: each says so now and then, and an
//! operator sees whether they agree.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use turnpike_api::{Clock, Directory, Expected, StoreError};

use crate::reload::Reloader;
use crate::runtime::Runtime;

/// The kind of record that says how a replica stands; its key is the replica's name.
const KIND: &str = "replica";

/// How often it is said, and how long it is believed.
const EVERY: Duration = Duration::from_secs(10);
const BELIEVED: Duration = Duration::from_secs(35);

/// How a replica stands. Times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replica {
    /// The machine's, or the pod's.
    pub host: String,
    pub version: String,
    /// Grows with every configuration that it takes over.
    pub generation: u64,
    /// A digest of the configuration in force: replicas with the same one have the same.
    pub configuration: String,
    /// What it read last is not in force.
    pub has_problem: bool,
    /// It has begun to stop.
    pub draining: bool,
    /// When it said so.
    pub at: u64,
}

/// Says how this one stands, until the process ends.
pub async fn tell(runtime: Arc<Runtime>, reloader: Arc<Reloader>) {
    if !runtime.is_fleet() {
        return runtime.metrics.fleet(1, 1);
    }
    loop {
        // A store that is away is told later; that it is away is known by others.
        let _ = write(&runtime, &reloader).await;
        match all(&runtime, &reloader).await {
            Ok(all) => {
                let configurations = all.iter().map(|(_, one)| &*one.configuration);
                let different = configurations.collect::<BTreeSet<_>>().len();
                runtime.metrics.fleet(all.len(), different);
            }
            // Nobody else is heard of.
            Err(_) => runtime.metrics.fleet(1, 1),
        }
        tokio::time::sleep(EVERY).await;
    }
}

async fn write(runtime: &Runtime, reloader: &Reloader) -> Result<(), StoreError> {
    let Ok(value) = serde_json::to_vec(&this(runtime, reloader)) else {
        return Ok(());
    };
    let (store, name) = (&*runtime.store, runtime.name());
    Directory::put(
        store,
        KIND,
        name,
        &value,
        Some(BELIEVED),
        Expected::Anything,
    )
    .await?;
    Ok(())
}

/// It serves no more.
pub async fn leave(runtime: &Runtime) {
    if runtime.is_fleet() {
        // What is not removed ends by itself.
        let _ = runtime.store.remove(KIND, runtime.name()).await;
    }
}

/// How this one stands now.
pub fn this(runtime: &Runtime, reloader: &Reloader) -> Replica {
    let snapshot = runtime.snapshot();
    Replica {
        host: gethostname::gethostname().to_string_lossy().into_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        generation: snapshot.generation,
        configuration: snapshot.management.configuration(),
        has_problem: reloader.last_read().problem.is_some(),
        draining: runtime.drain.is_begun(),
        at: runtime.board.time.now(),
    }
}

/// Those that serve by the store of this one, with their names, and this one as it stands now.
pub async fn all(
    runtime: &Runtime,
    reloader: &Reloader,
) -> Result<Vec<(String, Replica)>, StoreError> {
    let mut all = vec![(runtime.name().to_owned(), this(runtime, reloader))];
    if runtime.is_fleet() {
        for (name, record) in runtime.store.list(KIND).await? {
            // What a newer release wrote may not be read.
            let told = serde_json::from_slice(&record.value).ok();
            all.extend(
                told.filter(|_| name != runtime.name())
                    .map(|told| (name, told)),
            );
        }
    }
    all.sort_by(|(a, one), (b, other)| (&one.host, a).cmp(&(&other.host, b)));
    Ok(all)
}
