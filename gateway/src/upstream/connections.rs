//! Connections to providers: made by Pingora, HTTP/1 and HTTP/2.
//!
//! Pingora's combined connector does the same, but the future of its one call holds a whole TLS
//! handshake, which every request would carry (18 KB of state, copied, for what is nearly always
//! a look into a pool). Here only a request that connects pays for connecting.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use pingora::Result;
use pingora::connectors::http::v2;
use pingora::connectors::{ConnectorOptions, TransportConnector};
use pingora::protocols::http::client::HttpSession;
use pingora::protocols::http::v1::client::HttpSession as Http1;
use pingora::protocols::http::v2::client::Http2Session;
use pingora::protocols::{ALPN, Stream};
use pingora::upstreams::peer::Peer;

use super::Endpoint;
use super::idle::Idle;

/// HTTP/2 connections without a stream that are kept, over all providers.
const POOL: usize = 1024;

/// What the other side has closed is closed here as soon.
const SWEPT: Duration = Duration::from_secs(1);

/// The pools, shared by all requests.
pub struct Connections {
    h1: TransportConnector,
    idle: Idle,
    h2: v2::Connector,
}

/// A connection to send one request on.
pub enum Connection {
    H1(Stream),
    H2(Box<Http2Session>),
}

impl Default for Connections {
    fn default() -> Self {
        let options = || Some(ConnectorOptions::new(POOL));
        Self {
            h1: TransportConnector::new(options()),
            idle: Idle::default(),
            h2: v2::Connector::new(options()),
        }
    }
}

impl Connections {
    /// A pooled connection, or a new one; true when it has served before. `fresh` asks for a new
    /// one.
    pub async fn get(&self, endpoint: &Endpoint, fresh: bool) -> Result<(Connection, bool)> {
        let alpn = endpoint.get_alpn().unwrap_or(&ALPN::H1);
        if fresh {
            let connection = Box::pin(self.connect(endpoint, alpn)).await?;
            return Ok((connection, false));
        }
        if alpn.get_max_http_version() == 2
            && let Some(stream) = self.h2.reused_http_session(endpoint).await?
        {
            return Ok((Connection::H2(Box::new(stream)), true));
        }
        if alpn.get_min_http_version() == 1
            && let Some(stream) = self.idle.take(endpoint.reuse_hash())
        {
            return Ok((Connection::H1(stream), true));
        }
        let connection = Box::pin(self.connect(endpoint, alpn)).await?;
        Ok((connection, false))
    }

    async fn connect(&self, endpoint: &Endpoint, alpn: &ALPN) -> Result<Connection> {
        if alpn.get_max_http_version() == 1 {
            return self.h1.new_stream(endpoint).await.map(Connection::H1);
        }
        match self.h2.new_http_session::<_, ()>(endpoint).await? {
            HttpSession::H2(stream) => Ok(Connection::H2(Box::new(stream))),
            // The provider chose HTTP/1 when both were offered.
            HttpSession::H1(session) => Ok(Connection::H1(session.into_inner())),
            HttpSession::Custom(()) => pingora::Error::e_explain(
                pingora::ErrorType::ConnectError,
                "no protocol but HTTP is offered",
            ),
        }
    }

    /// Keeps a connection whose request was sent and whose answer was read to the end.
    pub fn keep(&self, session: HttpSession<()>, endpoint: &Endpoint) {
        match session {
            HttpSession::H1(session) => self.keep_h1(session, endpoint),
            HttpSession::H2(stream) => {
                self.h2
                    .release_http_session(stream, endpoint, endpoint.idle_timeout())
            }
            HttpSession::Custom(()) => {}
        }
    }

    fn keep_h1(&self, mut session: Http1, endpoint: &Endpoint) {
        session.respect_keepalive();
        // It waits only to close what cannot be kept, which being dropped does as well; and its future
        // would lie within that of every request.
        if let Some(stream) = session.reuse().now_or_never().flatten() {
            self.idle.put(endpoint.reuse_hash(), stream);
        }
    }
}

/// Closes idle ones that are of no use any more, every second, until the process ends.
pub async fn sweep(connections: Arc<Connections>) {
    let mut every = tokio::time::interval(SWEPT);
    loop {
        every.tick().await;
        connections.idle.sweep();
    }
}
