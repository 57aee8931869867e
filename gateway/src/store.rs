//! The store that the configuration names, for the gateway and for the commands beside it.

mod timed;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use turnpike_api::{Secret, Store};
use turnpike_config::plan::{RedisPlan, RedisServersPlan, StatePlan};
use turnpike_store::{
    ClientCertificate, Embedded, OpenError, Options, Redis, Servers, SetupError, Shared,
};

pub use timed::Timed;

use crate::clock::Time;

/// Why there is no store.
#[derive(Debug, Error)]
pub enum StoreOpenError {
    #[error(transparent)]
    Embedded(#[from] OpenError),
    #[error("state.redis: {0}")]
    Redis(#[from] SetupError),
    #[error("state.redis.tls: cannot read {}", path.display())]
    File { path: PathBuf, source: io::Error },
}

/// A command is waited for; it may connect over a long way first.
const PATIENCE: Duration = Duration::from_secs(5);

/// The gateway's own. A Redis need not be there yet; it is waited for as long as a connection may
/// take.
pub async fn open(state: &StatePlan, clock: Time) -> Result<Arc<dyn Store>, StoreOpenError> {
    let embedded = Embedded::open(&state.path, Arc::new(clock))?;
    let Some(redis) = &state.redis else {
        return Ok(Arc::new(embedded));
    };
    let redis = Redis::open(&options(redis)?)?;
    redis.settled().await;
    Ok(Arc::new(Shared::new(redis, embedded)))
}

/// A command's: what is shared is in the Redis, where there is one.
pub fn beside(state: &StatePlan, here: Arc<dyn Store>) -> Result<Arc<dyn Store>, StoreOpenError> {
    let Some(redis) = &state.redis else {
        return Ok(here);
    };
    let redis = Redis::open(&Options {
        deadline: PATIENCE,
        connect_timeout: PATIENCE,
        ..options(redis)?
    })?;
    Ok(Arc::new(Shared::beside(redis, here)))
}

/// What an operator knows it by. No password is in it.
pub fn shown(state: &StatePlan) -> String {
    let path = state.path.display();
    let Some(redis) = &state.redis else {
        return path.to_string();
    };
    let servers = match &redis.servers {
        RedisServersPlan::One => redis.url.clone(),
        RedisServersPlan::Sentinel { nodes, master_name } => {
            format!("redis {master_name} of sentinels {}", nodes.join(", "))
        }
        RedisServersPlan::Cluster { nodes } => format!("redis cluster {}", nodes.join(", ")),
    };
    format!(
        "{servers} (keys {}:…), counters in {path}",
        redis.key_prefix
    )
}

fn options(plan: &RedisPlan) -> Result<Options, StoreOpenError> {
    let client = plan.client.as_ref().map(|client| {
        Ok::<_, StoreOpenError>(ClientCertificate {
            certificate: read(&client.cert)?,
            key: Secret::new(String::from_utf8_lossy(&read(&client.key)?)),
        })
    });
    Ok(Options {
        url: plan.url.clone(),
        servers: match plan.servers.clone() {
            RedisServersPlan::One => Servers::One,
            RedisServersPlan::Sentinel { nodes, master_name } => Servers::Watched {
                sentinels: nodes,
                master: master_name,
            },
            RedisServersPlan::Cluster { nodes } => Servers::Cluster(nodes),
        },
        username: plan.username.clone(),
        password: plan.password.clone(),
        authorities: plan.ca_file.as_deref().map(read).transpose()?,
        client: client.transpose()?,
        key_prefix: plan.key_prefix.clone(),
        deadline: plan.deadline,
        connect_timeout: plan.connect_timeout,
    })
}

fn read(path: &Path) -> Result<Vec<u8>, StoreOpenError> {
    std::fs::read(path).map_err(|source| StoreOpenError::File {
        path: path.to_owned(),
        source,
    })
}
