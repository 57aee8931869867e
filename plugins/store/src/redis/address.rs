//! Where the Redis is, who one is there, and whom one believes.

use std::time::Duration;

use redis::io::tcp::TcpSettings;
use redis::{
    Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, TlsCertificates,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use turnpike_api::StoreError;

use super::sentinel::Sentinels;
use super::{ClientCertificate, Options, SetupError};

/// How one comes to the server that may be written to.
pub(super) enum Way {
    Direct(Client),
    Sentinels(Sentinels),
}

impl Way {
    /// It connects to nobody yet.
    pub(super) fn new(options: &Options) -> Result<Self, SetupError> {
        let client = client(options)?;
        Ok(match &options.sentinel {
            None => Self::Direct(client),
            Some(sentinel) => Self::Sentinels(Sentinels::new(client, sentinel)?),
        })
    }

    /// What an operator knows it by.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Direct(client) => client.get_connection_info().addr().to_string(),
            Self::Sentinels(sentinels) => sentinels.shown(),
        }
    }

    /// What makes connections to the server, within this time.
    pub(super) async fn client(&self, within: Duration) -> Result<Client, StoreError> {
        match self {
            Self::Direct(client) => Ok(client.clone()),
            Self::Sentinels(sentinels) => sentinels.client(within).await,
        }
    }

    /// Whether another server than `client`'s is the master by now.
    pub(super) async fn has_moved(&self, client: &Client, within: Duration) -> bool {
        match self {
            Self::Direct(_) => false,
            Self::Sentinels(sentinels) => sentinels.have_moved(client, within).await,
        }
    }
}

fn client(options: &Options) -> Result<Client, SetupError> {
    let address = address(options)?;
    let root_cert = options.authorities.clone();
    if let Some(pem) = &root_cert
        && CertificateDer::pem_slice_iter(pem).next().is_none()
    {
        return Err(SetupError::Authorities);
    }
    let client_tls = options.client.as_ref().map(shown).transpose()?;
    if root_cert.is_none() && client_tls.is_none() {
        return Client::open(address).map_err(|_| SetupError::Url);
    }
    let certificates = TlsCertificates {
        client_tls,
        root_cert,
    };
    Client::build_with_tls(address, certificates).map_err(|_| SetupError::Authorities)
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
