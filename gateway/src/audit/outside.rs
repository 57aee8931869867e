//! How audit sinks reach their receivers: as all other calls leave, by the proxies, authorities and checks
//! of addresses that are configured.
//!
//! Sinks have threads and no runtime; what they ask for is done on the gateway's, and waited for.

mod stream;

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_LENGTH};
use http::{Request, Response};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tokio::runtime::Handle;
use tokio::time::timeout;
use turnpike_audit::sinks::outside::{Connection, Line, Outside, OutsideError};
use turnpike_config::plan::{CertificatePlan, ProxyChoice};
use url::Url;

use stream::{Tcp, Tls};

use crate::assemble::egress::Egress;
use crate::upstream::{Connections, call};

/// How long a connection may take to be made.
const PATIENCE: Duration = Duration::from_secs(20);

/// The ways out.
#[derive(Clone)]
pub(super) struct Ways {
    pub(super) runtime: Handle,
    pub(super) connections: Arc<Connections>,
    pub(super) egress: Arc<ArcSwapOption<Egress>>,
}

/// One that takes a stream.
pub(super) struct Receiver {
    pub(super) address: Url,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) client: Option<CertificatePlan>,
    pub(super) ways: Ways,
}

fn failed(why: impl ToString) -> OutsideError {
    OutsideError(why.to_string())
}

impl Ways {
    fn egress(&self) -> Result<Egress, OutsideError> {
        let egress = self.egress.load_full();
        let egress = egress.ok_or_else(|| failed("the gateway is not ready"))?;
        Ok((*egress).clone())
    }

    /// What this comes to, on the gateway's runtime. One that ends answers nothing.
    fn wait<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, OutsideError> {
        let (done, waiting) = mpsc::sync_channel(1);
        self.runtime.spawn(async move {
            // Nobody waits any more: the process ends.
            let _ = done.send(work.await);
        });
        waiting.recv().map_err(|_| failed("the gateway ends"))
    }
}

impl Outside for Ways {
    fn call(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, OutsideError> {
        let (head, body) = request.into_parts();
        let url = Url::parse(&head.uri.to_string()).map_err(failed)?;
        let endpoint = self.egress()?.endpoint(&url, &ProxyChoice::Inherit);
        let endpoint = endpoint.map_err(failed)?;
        let connections = self.connections.clone();
        let answer = self.wait(async move {
            let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
            // Every call of ours says that it takes JSON, and how long it is.
            let headers = head.headers.iter();
            let own = headers.filter(|(name, _)| **name != ACCEPT && **name != CONTENT_LENGTH);
            let request = call::Request {
                method: head.method,
                path,
                headers: own
                    .map(|(name, value)| (name.clone(), value.clone()))
                    .collect(),
                body: Bytes::from(body),
            };
            call::send_again(&connections, &endpoint, request).await
        })?;
        let answer = answer.map_err(failed)?;
        let mut response = Response::builder().status(answer.status);
        if let Some(headers) = response.headers_mut() {
            *headers = answer.headers;
        }
        response.body(answer.body.to_vec()).map_err(failed)
    }
}

impl Line for Receiver {
    fn connect(&self) -> Result<Box<dyn Connection>, OutsideError> {
        let egress = self.ways.egress()?;
        let dialer = egress.dialer(&self.address).map_err(failed)?;
        let dialled = self.ways.wait(async move {
            match timeout(PATIENCE, dialer.dial()).await {
                Ok(dialled) => dialled.map_err(failed)?.into_std().map_err(failed),
                Err(_) => Err(failed("it does not answer")),
            }
        })?;
        let tcp = dialled?;
        stream::prepare(&tcp).map_err(failed)?;
        if self.address.scheme() == "tcp" {
            return Ok(Box::new(Tcp(tcp)));
        }
        let host = self.address.host_str().unwrap_or_default();
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned());
        let config = Arc::new(self.config(&egress)?);
        let tls = ClientConnection::new(config, name.map_err(failed)?).map_err(failed)?;
        let mut stream = StreamOwned::new(tls, tcp);
        // Its certificate is checked before anything is said.
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).map_err(failed)?;
        }
        Ok(Box::new(Tls(stream)))
    }
}

impl Receiver {
    /// Read for each connection: certificates are renewed while the gateway runs.
    fn config(&self, egress: &Egress) -> Result<ClientConfig, OutsideError> {
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions();
        let builder = builder.map_err(failed)?;
        let builder = builder.with_root_certificates(self.roots(egress)?);
        let Some(client) = &self.client else {
            return Ok(builder.with_no_client_auth());
        };
        let chain = certificates(&client.cert)?;
        let key = PrivateKeyDer::from_pem_file(&client.key);
        let key = key.map_err(|error| failed(format!("{}: {error}", client.key.display())))?;
        builder.with_client_auth_cert(chain, key).map_err(failed)
    }

    fn roots(&self, egress: &Egress) -> Result<RootCertStore, OutsideError> {
        let mut roots = RootCertStore::empty();
        let own = self.ca_file.as_deref();
        if own.is_none() {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        if let Some(path) = own.or(egress.ca_file()) {
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(failed)?;
            }
        }
        Ok(roots)
    }
}

fn certificates(path: &std::path::Path) -> Result<Vec<CertificateDer<'static>>, OutsideError> {
    let read = fs::read(path).map_err(|error| failed(format!("{}: {error}", path.display())))?;
    let found = CertificateDer::pem_slice_iter(&read).collect::<Result<Vec<_>, _>>();
    found.map_err(|error| failed(format!("{}: {error}", path.display())))
}
