//! Which server is the master, as its sentinels have it.

use std::collections::HashMap;
use std::time::Duration;

use futures::future::join_all;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, RedisConnectionInfo, RedisResult,
};
use tokio::time::timeout;
use turnpike_api::StoreError;

use super::{Sentinel, SetupError};

pub(super) struct Sentinels {
    nodes: Vec<Client>,
    written: Vec<String>,
    master: String,
    /// How any of the servers is come to, but for its address.
    server: ConnectionInfo,
}

type Address = (String, u16);

impl Sentinels {
    /// Those of the servers that are come to as `client` says.
    pub(super) fn new(client: Client, sentinel: &Sentinel) -> Result<Self, SetupError> {
        let server = client.get_connection_info().clone();
        let node = |written: &String| {
            let (host, port) = written.rsplit_once(':').ok_or(SetupError::Sentinels)?;
            let host = host.trim_start_matches('[').trim_end_matches(']');
            let port = port.parse().map_err(|_| SetupError::Sentinels)?;
            // They have neither databases nor the servers' users.
            let login = RedisConnectionInfo::default();
            let info = at(&server, (host.to_owned(), port)).ok_or(SetupError::Sentinels)?;
            Client::open(info.set_redis_settings(login)).map_err(|_| SetupError::Sentinels)
        };
        let nodes: Result<Vec<Client>, SetupError> = sentinel.nodes.iter().map(node).collect();
        Ok(Self {
            nodes: nodes?,
            written: sentinel.nodes.clone(),
            master: sentinel.master.clone(),
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
        let before = address(client.get_connection_info().addr());
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
        command.query_async(&mut connection).await
    }

    fn unknown(&self) -> StoreError {
        StoreError::Unavailable(format!(
            "no sentinel of {} knows the master `{}`; start them, or correct state.redis.nodes and state.redis.master_name",
            self.written.join(", "),
            self.master
        ))
    }
}

/// The same at another address; `None` of a socket of this machine.
fn at(server: &ConnectionInfo, (host, port): Address) -> Option<ConnectionInfo> {
    let address = match server.addr() {
        ConnectionAddr::Tcp(..) => ConnectionAddr::Tcp(host, port),
        ConnectionAddr::TcpTls {
            insecure,
            tls_params,
            ..
        } => ConnectionAddr::TcpTls {
            host,
            port,
            insecure: *insecure,
            tls_params: tls_params.clone(),
        },
        _ => return None,
    };
    Some(server.clone().set_addr(address))
}

fn address(address: &ConnectionAddr) -> Option<Address> {
    match address {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
            Some((host.clone(), *port))
        }
        _ => None,
    }
}
