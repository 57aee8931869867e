//! Which server is the master, as its sentinels have it.

use std::collections::HashMap;
use std::time::Duration;

use futures::future::join_all;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ConnectionInfo, RedisConnectionInfo, RedisResult};
use tokio::time::timeout;
use turnpike_api::StoreError;

use super::SetupError;
use super::address::{Address, at};

pub(super) struct Sentinels {
    nodes: Vec<Client>,
    written: Vec<String>,
    master: String,
    /// How any of the servers is come to, but for its address.
    server: ConnectionInfo,
}

impl Sentinels {
    /// Those of a server that is come to as `client` says, but for its address.
    pub(super) fn new(
        client: &Client,
        sentinels: &[String],
        master: &str,
    ) -> Result<Self, SetupError> {
        let server = client.get_connection_info().clone();
        let node = |written: &String| {
            // They have neither databases nor the servers' users.
            let login = RedisConnectionInfo::default();
            let info = Address::read(written).and_then(|address| at(&server, address));
            let info = info.ok_or(SetupError::Nodes)?;
            Client::open(info.set_redis_settings(login)).map_err(|_| SetupError::Nodes)
        };
        let nodes: Result<Vec<Client>, SetupError> = sentinels.iter().map(node).collect();
        Ok(Self {
            nodes: nodes?,
            written: sentinels.to_vec(),
            master: master.to_owned(),
            server,
        })
    }

    pub(super) fn shown(&self) -> String {
        format!("{} (sentinels {})", self.master, self.written.join(", "))
    }

    /// What makes connections to the master.
    pub(super) async fn client(&self, within: Duration) -> Result<Client, StoreError> {
        let master = self.ask(within).await.ok_or_else(|| self.unknown())?;
        let info = at(&self.server, master).ok_or_else(|| self.unknown())?;
        Client::open(info).map_err(|_| self.unknown())
    }

    /// Whether they have another master than the server of `client`.
    pub(super) async fn have_moved(&self, client: &Client, within: Duration) -> bool {
        let before = Address::of(client.get_connection_info().addr());
        match self.ask(within).await {
            Some(master) => before != Some(master),
            None => false,
        }
    }

    /// What most of them say: one that was cut off from the others may know no better.
    async fn ask(&self, within: Duration) -> Option<Address> {
        let asked = self
            .nodes
            .iter()
            .map(|node| timeout(within, self.ask_one(node)));
        let mut votes = HashMap::<Address, usize>::new();
        for address in join_all(asked)
            .await
            .into_iter()
            .flatten()
            .flatten()
            .flatten()
        {
            *votes.entry(address).or_default() += 1;
        }
        let most = votes.into_iter().max_by_key(|(_, votes)| *votes);
        most.map(|(address, _)| address)
    }

    async fn ask_one(&self, node: &Client) -> RedisResult<Option<Address>> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None);
        let connecting = node.get_multiplexed_async_connection_with_config(&config);
        let mut connection: MultiplexedConnection = connecting.await?;
        let mut command = redis::cmd("SENTINEL");
        command.arg("GET-MASTER-ADDR-BY-NAME").arg(&self.master);
        let told: Option<(String, u16)> = command.query_async(&mut connection).await?;
        Ok(told.map(|(host, port)| Address { host, port }))
    }

    fn unknown(&self) -> StoreError {
        StoreError::Unavailable(format!(
            "no sentinel of {} knows the master `{}`; start them, or correct state.redis.nodes and state.redis.master_name",
            self.written.join(", "),
            self.master
        ))
    }
}
