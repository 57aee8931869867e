//! Where the Redis is, who one is there, and whom one believes.

use std::time::Duration;

use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo,
    IntoConnectionInfo, RedisResult, TlsCertificates,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use turnpike_api::StoreError;

use super::connection::Connection;
use super::sentinel::Sentinels;
use super::{ClientCertificate, Options, Servers, SetupError};

/// How one comes to who may be written to.
pub(super) enum Way {
    Direct(Client),
    Sentinels(Sentinels),
    Cluster(Box<ClusterClient>, String),
}

/// Where connections are made to.
pub(super) enum Target {
    Server(Box<Client>),
    Cluster(Box<ClusterClient>),
}

/// A host and its port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
}

impl Way {
    /// It connects to nobody yet.
    pub(super) fn new(options: &Options) -> Result<Self, SetupError> {
        let client = client(options)?;
        Ok(match &options.servers {
            Servers::One => Self::Direct(client),
            Servers::Watched { sentinels, master } => {
                Self::Sentinels(Sentinels::new(&client, sentinels, master)?)
            }
            Servers::Cluster(nodes) => Self::Cluster(
                Box::new(cluster(&client, nodes, options)?),
                format!("cluster {}", nodes.join(", ")),
            ),
        })
    }

    /// What an operator knows it by.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Direct(client) => client.get_connection_info().addr().to_string(),
            Self::Sentinels(sentinels) => sentinels.shown(),
            Self::Cluster(_, shown) => shown.clone(),
        }
    }

    /// Where to connect to; it is found out within this time.
    pub(super) async fn target(&self, within: Duration) -> Result<Target, StoreError> {
        Ok(match self {
            Self::Direct(client) => Target::Server(Box::new(client.clone())),
            Self::Sentinels(sentinels) => Target::Server(Box::new(sentinels.client(within).await?)),
            Self::Cluster(client, _) => Target::Cluster(client.clone()),
        })
    }

    /// Whether another server than the target is the master by now.
    pub(super) async fn has_moved(&self, target: &Target, within: Duration) -> bool {
        match (self, target) {
            (Self::Sentinels(sentinels), Target::Server(client)) => {
                sentinels.have_moved(client, within).await
            }
            _ => false,
        }
    }
}

impl Target {
    /// Takes as long as it takes.
    pub(super) async fn connect(&self) -> RedisResult<Connection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None);
        match self {
            Self::Server(client) => {
                let connecting = client.get_multiplexed_async_connection_with_config(&config);
                connecting.await.map(Connection::Server)
            }
            Self::Cluster(client) => client.get_async_connection().await.map(Connection::Cluster),
        }
    }
}

impl Address {
    /// `host:port`.
    pub(super) fn read(written: &str) -> Option<Self> {
        let (host, port) = written.rsplit_once(':')?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Some(Self {
            host: host.to_owned(),
            port: port.parse().ok()?,
        })
    }

    pub(super) fn of(address: &ConnectionAddr) -> Option<Self> {
        match address {
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
                Some(Self {
                    host: host.clone(),
                    port: *port,
                })
            }
            _ => None,
        }
    }
}

/// The same at another address; `None` of a socket of this machine.
pub(super) fn at(server: &ConnectionInfo, address: Address) -> Option<ConnectionInfo> {
    let Address { host, port } = address;
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

/// How often a command follows a slot that has moved.
const FOLLOWS: u32 = 3;

fn cluster(
    client: &Client,
    nodes: &[String],
    options: &Options,
) -> Result<ClusterClient, SetupError> {
    let node = |written: &String| {
        let address = Address::read(written)?;
        at(client.get_connection_info(), address)
    };
    let nodes: Option<Vec<ConnectionInfo>> = nodes.iter().map(node).collect();
    let builder = ClusterClientBuilder::new(nodes.ok_or(SetupError::Nodes)?)
        .retries(FOLLOWS)
        // Each call has a deadline around it.
        .connection_timeout(options.connect_timeout)
        .response_timeout(options.connect_timeout.max(options.deadline));
    let builder = match certificates(options)? {
        Some(certificates) => builder.certs(certificates),
        None => builder,
    };
    builder.build().map_err(|_| SetupError::Nodes)
}

fn client(options: &Options) -> Result<Client, SetupError> {
    let address = address(options)?;
    match certificates(options)? {
        None => Client::open(address).map_err(|_| SetupError::Url),
        Some(certificates) => {
            let made = Client::build_with_tls(address, certificates);
            made.map_err(|_| SetupError::Authorities)
        }
    }
}

/// Whom one believes, and what one shows, where it is not the system's.
fn certificates(options: &Options) -> Result<Option<TlsCertificates>, SetupError> {
    let root_cert = options.authorities.clone();
    if let Some(pem) = &root_cert
        && CertificateDer::pem_slice_iter(pem).next().is_none()
    {
        return Err(SetupError::Authorities);
    }
    let client_tls = options.client.as_ref().map(shown).transpose()?;
    let is_told = root_cert.is_some() || client_tls.is_some();
    Ok(is_told.then_some(TlsCertificates {
        client_tls,
        root_cert,
    }))
}

fn shown(client: &ClientCertificate) -> Result<ClientTlsConfig, SetupError> {
    let (certificate, key) = (&client.certificate, client.key.expose().as_bytes());
    let is_certificate = CertificateDer::from_pem_slice(certificate).is_ok();
    match is_certificate && PrivateKeyDer::from_pem_slice(key).is_ok() {
        true => Ok(ClientTlsConfig {
            client_cert: certificate.clone(),
            client_key: key.to_vec(),
        }),
        false => Err(SetupError::Client),
    }
}

fn address(options: &Options) -> Result<ConnectionInfo, SetupError> {
    let address = options.url.as_str().into_connection_info();
    let address = address.map_err(|_| SetupError::Url)?;
    // Not to look at certificates is a fragment of the address, which this build does not know.
    if let ConnectionAddr::TcpTls { insecure: true, .. } = address.addr() {
        return Err(SetupError::Url);
    }
    let login = address.redis_settings();
    if login.username().is_some() || login.password().is_some() {
        return Err(SetupError::Login);
    }
    let mut login = login.clone();
    if !options.username.is_empty() {
        login = login.set_username(&options.username);
    }
    if let Some(password) = &options.password {
        login = login.set_password(password.expose());
    }
    let tcp = TcpSettings::default().set_nodelay(true);
    Ok(address.set_redis_settings(login).set_tcp_settings(tcp))
}
