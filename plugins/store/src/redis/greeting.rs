//! What is asked of a Redis when one has connected: which one it is, and whether it will keep what
//! it is given.

use redis::{ErrorKind, InfoDict, RedisError, RedisResult, ServerErrorKind};

use super::connection::Connection;
use super::failure;
use super::keys::Keys;
use super::script::{INFO, LIFE};

/// Where it is noted which server holds the news.
pub(super) struct Greeting {
    floor: String,
    life: String,
}

/// What a server says of itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Greeted {
    /// Tells one life of a server from another; `None` when it does not say.
    pub(super) run_id: Option<String>,
    /// What its operator should change.
    pub(super) warnings: Vec<&'static str>,
}

const UNKNOWN: &str = "does not tell the user how it is set up (INFO); make sure that it has `maxmemory-policy noeviction`, `appendonly yes` and, with replicas, `min-replicas-to-write 1`, or allow the user +info";

const EVICTS: &str = "removes keys of its own accord when its memory is full: agent tokens and sessions would be gone; set `maxmemory-policy noeviction`";

const FORGETS: &str = "does not write each change to its disk: after a restart agent tokens and sessions that were made since its last snapshot are gone, and what was revoked since then is not; set `appendonly yes`";

const DIVIDES: &str = "has replicas and goes on without them: what is written during a partition may be lost in a fail-over; set `min-replicas-to-write 1` and `min-replicas-max-lag 1`";

impl Greeting {
    pub(super) fn new(keys: &Keys) -> Self {
        Self {
            floor: keys.floor(),
            life: keys.life(),
        }
    }

    /// An error is a server that is of no use. Of a cluster, the node that has the news is meant.
    pub(super) async fn say(&self, mut connection: Connection) -> RedisResult<Greeted> {
        let asked = match connection {
            Connection::Server(_) => {
                redis::cmd("PING").exec_async(&mut connection).await?;
                redis::cmd("INFO").query_async(&mut connection).await
            }
            Connection::Cluster(_) => INFO.on([self.floor.clone()]).run(connection.clone()).await,
        };
        let info: InfoDict = match asked {
            Ok(info) => info,
            Err(error) if failure::is_final(&error) => return Err(error),
            Err(_) => return Ok(Greeted::unknown()),
        };
        is_master(&info)?;
        let greeted = read(&info);
        if let Some(run_id) = &greeted.run_id {
            let call = LIFE.on([self.floor.clone(), self.life.clone()]).arg(run_id);
            let noted: RedisResult<u8> = call.run(connection).await;
            // A server that is full, or waits for its replicas, can be read all the same.
            match noted {
                Err(error) if failure::is_final(&error) => return Err(error),
                Ok(_) | Err(_) => {}
            }
        }
        Ok(greeted)
    }

    /// Looks whether it still is of use. A cluster may have given the news to another node.
    pub(super) async fn look(&self, mut connection: Connection) -> RedisResult<()> {
        if let Connection::Cluster(_) = connection {
            return self.say(connection).await.map(drop);
        }
        let mut asked = redis::cmd("INFO");
        asked.arg("replication");
        match asked.query_async::<InfoDict>(&mut connection).await {
            Ok(info) => is_master(&info),
            Err(error) if error.code() == Some("NOPERM") => {
                redis::cmd("PING").exec_async(&mut connection).await
            }
            Err(error) => Err(error),
        }
    }
}

impl Greeted {
    fn unknown() -> Self {
        Self {
            run_id: None,
            warnings: vec![UNKNOWN],
        }
    }
}

/// A replica answers all that is only read, and knows no better than its master.
fn is_master(info: &InfoDict) -> RedisResult<()> {
    match info.get::<String>("role").as_deref() {
        Some("slave") => {
            let kind = ErrorKind::Server(ServerErrorKind::ReadOnly);
            Err(RedisError::from((kind, "it is a replica")))
        }
        _ => Ok(()),
    }
}

fn read(info: &InfoDict) -> Greeted {
    let text = |key: &str| info.get::<String>(key);
    let number = |key: &str| info.get::<u64>(key).unwrap_or(0);
    let mut warnings = Vec::new();
    if text("maxmemory_policy").is_some_and(|policy| policy != "noeviction") {
        warnings.push(EVICTS);
    }
    if text("aof_enabled").as_deref() == Some("0") {
        warnings.push(FORGETS);
    }
    // It is told only where it is set.
    if number("connected_slaves") > 0 && text("min_slaves_good_slaves").is_none() {
        warnings.push(DIVIDES);
    }
    Greeted {
        run_id: text("run_id"),
        warnings,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warned(info: &str) -> Vec<&'static str> {
        let info = InfoDict::new(&format!("run_id:a\r\n{info}").replace(' ', "\r\n"));
        read(&info).warnings
    }

    #[test]
    fn what_may_lose_something_is_told() {
        let good = "maxmemory_policy:noeviction aof_enabled:1 connected_slaves:0";
        assert_eq!(warned(good), [""; 0]);
        let evicts = good.replace("noeviction", "allkeys-lru");
        assert_eq!(warned(&evicts), [EVICTS]);
        assert_eq!(
            warned(&good.replace("aof_enabled:1", "aof_enabled:0")),
            [FORGETS]
        );
        let replicated = good.replace("slaves:0", "slaves:2");
        assert_eq!(warned(&replicated), [DIVIDES]);
        let guarded = format!("{replicated} min_slaves_good_slaves:2");
        assert_eq!(warned(&guarded), [""; 0]);
    }
}
