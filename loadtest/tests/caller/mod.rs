//! A plain hyper client: one connection, h1 or h2, clear or TLS.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a failure of the client fails the test")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};
use turnpike_loadtest::FakeProvider;

pub(crate) const CHAT: &str = "/v1/chat/completions";
pub(crate) const MESSAGES: &str = "/v1/messages";
pub(crate) const GEMINI: &str = "/v1beta/models/gem:streamGenerateContent?alt=sse";
pub(crate) const ASK: &str = r#"{"model":"gpt-fake","messages":[]}"#;
pub(crate) const ASK_STREAM: &str =
    r#"{"model":"gpt-fake","stream":true,"stream_options":{"include_usage":true}}"#;

enum Sender {
    H1(http1::SendRequest<Full<Bytes>>),
    H2(http2::SendRequest<Full<Bytes>>),
}

pub(crate) struct Caller {
    sender: Sender,
    /// The socket, to close it under the client.
    socket: std::net::TcpStream,
    connection: JoinHandle<()>,
    authority: String,
}

impl Caller {
    pub(crate) async fn clear(provider: &FakeProvider, version: Version) -> Self {
        let (io, socket) = connect(provider).await;
        Self::over(io, socket, provider, version).await
    }

    pub(crate) async fn tls(provider: &FakeProvider, version: Version, alpn: &[&str]) -> Self {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(provider.ca_pem().as_bytes()).unwrap())
            .unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let (io, socket) = connect(provider).await;
        let name = ServerName::try_from("localhost").unwrap();
        let io = TlsConnector::from(Arc::new(config))
            .connect(name, io)
            .await
            .unwrap();
        Self::over(io, socket, provider, version).await
    }

    async fn over<Io>(
        io: Io,
        socket: std::net::TcpStream,
        provider: &FakeProvider,
        version: Version,
    ) -> Self
    where
        Io: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let io = TokioIo::new(io);
        let (sender, connection) = if version == Version::HTTP_2 {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
            let connection = tokio::spawn(async move { drop(connection.await) });
            (Sender::H2(sender), connection)
        } else {
            let (sender, connection) = http1::handshake(io).await.unwrap();
            let connection = tokio::spawn(async move { drop(connection.await) });
            (Sender::H1(sender), connection)
        };
        Self {
            sender,
            socket,
            connection,
            authority: provider.base_url(),
        }
    }

    pub(crate) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> hyper::Result<Response<Incoming>> {
        match &mut self.sender {
            Sender::H1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
            Sender::H2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
        }
    }

    pub(crate) async fn post(
        &mut self,
        path: &str,
        key: &str,
        body: impl Into<Bytes>,
    ) -> hyper::Result<Response<Incoming>> {
        let request = Request::post(format!("{}{path}", self.authority))
            .header("host", "localhost")
            .header("te", "trailers")
            .header("authorization", format!("Bearer {key}"))
            .body(Full::new(body.into()))
            .unwrap();
        self.send(request).await
    }

    /// The body of a call that is expected to end well.
    pub(crate) async fn text(&mut self, path: &str, key: &str, body: &'static str) -> String {
        let response = self.post(path, key, body).await.unwrap();
        text(response).await
    }

    /// Until the provider closed the connection.
    pub(crate) async fn closed(&mut self) {
        (&mut self.connection).await.unwrap();
    }

    /// Closes the connection, as a caller that dies does.
    pub(crate) fn leave(self) {
        self.socket.shutdown(std::net::Shutdown::Both).unwrap();
    }
}

/// A connection, and its socket once more.
async fn connect(provider: &FakeProvider) -> (TcpStream, std::net::TcpStream) {
    let socket = TcpStream::connect(provider.addr())
        .await
        .unwrap()
        .into_std()
        .unwrap();
    let again = socket.try_clone().unwrap();
    (TcpStream::from_std(socket).unwrap(), again)
}

pub(crate) async fn text(response: Response<Incoming>) -> String {
    String::from_utf8(
        response
            .into_body()
            .collect()
            .await
            .unwrap()
            .to_bytes()
            .to_vec(),
    )
    .unwrap()
}

/// What came of the body, and whether it ended cleanly.
pub(crate) async fn what_came(response: Response<Incoming>) -> (String, bool) {
    let mut body = response.into_body();
    let mut came = Vec::new();
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => came.extend(frame.into_data().unwrap_or_default()),
            Err(_) => return (String::from_utf8(came).unwrap(), false),
        }
    }
    (String::from_utf8(came).unwrap(), true)
}

/// Fails instead of hanging.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(5), what)
        .await
        .expect("within five seconds")
}
