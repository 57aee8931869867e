//! A request's life on its connection: the head is read, the path is walked, the record is
//! settled, and the connection is kept or closed.

use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::BytesMut;
use pingora::ErrorType;
use pingora::apps::{HttpPersistentSettings, HttpServerApp, HttpServerOptions, ReusedHttpStream};
use pingora::protocols::Stream;
use pingora::protocols::http::{ReusableHttpStream, ServerSession};
use pingora::server::ShutdownWatch;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tracing::debug;
use turnpike_api::Dialect;

use crate::context::Context;
use crate::drain::Drain;
use crate::listener::FIRST_READ;
use crate::refusal::unreadable_head;
use crate::request::client_address;
use crate::request::{self, Connection};
use crate::runtime::Runtime;
use crate::within::within;

/// How long a connection may wait for its next request, and an HTTP/2 one for its next stream.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// The longest a connection is kept for what it still sends after it was refused.
const LINGER: Duration = Duration::from_secs(5);

/// The proxy port's application.
pub struct Proxy {
    pub runtime: Arc<Runtime>,
    options: HttpServerOptions,
}

impl Proxy {
    pub fn new(runtime: Arc<Runtime>) -> Self {
        let mut options = HttpServerOptions::default();
        options.h2c = true;
        // Refused by the path, with a text that says what to set instead.
        options.allow_connect_method_proxying = true;
        options.h2_idle_timeout = Some(KEEP_ALIVE);
        Self { runtime, options }
    }
}

#[async_trait]
impl HttpServerApp for Proxy {
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        _: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        if !self.read_head(&mut session).await {
            return None;
        }
        if self.runtime.drain.is_begun() {
            // Says so in the answer.
            session.set_keepalive(None);
        }
        // The next request may already be on the wire: it waits its turn instead of being taken
        // for stray bytes that end this one.
        session.set_pipelining_enabled(true);

        let mut context = Context::new(&self.runtime, session.req_header());
        // A caller that reads nothing for as long as a provider may be silent is gone.
        session.set_write_timeout(Some(context.snapshot.timeouts.idle));
        context.record.client = self.client_address(&session, &context);
        context.certificate = client_certificate(&session);
        let connection = request::serve(&mut session, &mut context).await;
        request::settle(context);

        match connection {
            Connection::Keep => {}
            Connection::Close => {
                session.set_keepalive(None);
                linger(&mut session).await;
            }
            Connection::Cut => {
                // HTTP/1 is cut by being dropped unfinished, an HTTP/2 stream by a reset.
                session.shutdown().await;
                return None;
            }
        }
        let mut settings = HttpPersistentSettings::for_session(&session);
        let connection = session.finish().await.ok().flatten()?;
        let (stream, first_bytes) = next_request(connection, &self.runtime.drain).await?;
        settings.set_pipelined_prefix(first_bytes);
        Some(ReusedHttpStream::new(stream, Some(settings)))
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        Some(&self.options)
    }
}

/// The digest of the certificate that the connection's TLS checked.
fn client_certificate(session: &ServerSession) -> Option<Vec<u8>> {
    let tls = session.digest()?.ssl_digest.as_ref()?;
    (!tls.cert_digest.is_empty()).then(|| tls.cert_digest.clone())
}

impl Proxy {
    fn client_address(&self, session: &ServerSession, context: &Context<'_>) -> Option<IpAddr> {
        let peer = session.client_addr()?.as_inet()?.ip();
        let trusted = &context.snapshot.trusted_proxies;
        Some(client_address(peer, &session.req_header().headers, trusted))
    }

    /// Reads the request's head; false when there is none to serve.
    ///
    /// A head that drips in is cut at `header_timeout`. Its first bytes are here already.
    async fn read_head(&self, session: &mut ServerSession) -> bool {
        let header_timeout = self.runtime.header_timeout();
        let too_slow = match within(header_timeout, pin!(session.read_request())).await {
            Some(Ok(there_is_one)) => return there_is_one,
            Some(Err(error)) if error.etype == ErrorType::InvalidHTTPHeader => false,
            Some(Err(error)) => {
                debug!(%error, "connection closed before a request");
                return false;
            }
            None => true,
        };
        // Says so in the answer, too.
        session.set_keepalive(None);
        let mut context = Context::of_unreadable(&self.runtime);
        let refusal = unreadable_head(too_slow);
        request::refuse(session, &mut context, Dialect::OpenAi, refusal).await;
        request::settle(context);
        session.shutdown().await;
        false
    }
}

/// Reads what a refused caller still uploads, so that it reads why.
///
/// Closing with bytes unread resets the connection, and most clients that meet a reset while they
/// write never look for the answer (RFC 9112, section 9.6).
async fn linger(session: &mut ServerSession) {
    if session.is_http2() {
        return;
    }
    session.shutdown().await;
    let reading = async { while let Ok(Some(_)) = session.read_request_body().await {} };
    within(LINGER, pin!(reading)).await;
}

/// Waits for the first bytes of a connection's next request; `None` when there will be none.
///
/// Only this wait may be long: a head that drips in is cut as soon on a connection that is kept
/// alive as on a new one. And a connection that is merely idle is closed without a word: a 408
/// would meet the next request half-way and be taken for its answer.
async fn next_request(connection: ReusableHttpStream, drain: &Drain) -> Option<(Stream, BytesMut)> {
    let (mut stream, pipelined) = connection.into_parts();
    if let Some(bytes) = pipelined {
        return Some((stream, bytes));
    }
    let mut bytes = BytesMut::with_capacity(FIRST_READ);
    let reading = pin!(stream.read_buf(&mut bytes));
    let read = tokio::select! {
        biased;
        read = within(KEEP_ALIVE, reading) => read,
        () = drain.until_closed() => None,
    };
    match read {
        Some(Ok(1..)) => Some((stream, bytes)),
        _ => {
            // The peer may have left already.
            let _ = stream.shutdown().await;
            None
        }
    }
}
