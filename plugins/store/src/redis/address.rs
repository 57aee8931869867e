//! Where the Redis is, who one is there, and whom one believes.

use redis::io::tcp::TcpSettings;
use redis::{Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, TlsCertificates};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::{Options, SetupError};

/// What makes connections. It makes none yet.
pub(super) fn client(options: &Options) -> Result<Client, SetupError> {
    let address = address(options)?;
    let Some(pem) = &options.authorities else {
        return Client::open(address).map_err(|_| SetupError::Url);
    };
    if CertificateDer::pem_slice_iter(pem).next().is_none() {
        return Err(SetupError::Authorities);
    }
    let certificates = TlsCertificates {
        client_tls: None,
        root_cert: Some(pem.clone()),
    };
    Client::build_with_tls(address, certificates).map_err(|_| SetupError::Authorities)
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
