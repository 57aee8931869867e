//! A request's life on its connection: the head is read, the path is walked, the record is
//! settled, and the connection is kept or closed.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::ErrorType;
use pingora::apps::{HttpPersistentSettings, HttpServerApp, HttpServerOptions, ReusedHttpStream};
use pingora::protocols::http::ServerSession;
use pingora::server::ShutdownWatch;
use pingora::time::timeout;
use tracing::debug;
use turnpike_api::Dialect;

use crate::context::Context;
use crate::refusal::unreadable_head;
use crate::request::identify::client_address;
use crate::request::{self, Connection};
use crate::runtime::Runtime;

/// How long a connection may wait for its next request, and an HTTP/2 one for its next stream.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// The proxy port's application.
pub struct Proxy {
    pub runtime: Arc<Runtime>,
    options: HttpServerOptions,
}

/// Marks a connection that has served a request already.
struct Reused;

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
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        if !self.read_head(&mut session).await {
            return None;
        }
        if *shutdown.borrow() {
            session.set_keepalive(None);
        }
        // The next request may already be on the wire: it waits its turn instead of being taken
        // for stray bytes that end this one.
        session.set_pipelining_enabled(true);

        let mut context = Context::new(&self.runtime, session.req_header());
        context.record.client = self.client_address(&session, &context);
        let connection = request::serve(&mut session, &mut context).await;
        request::settle(context);

        match connection {
            // Pingora closes it in silence when no request comes; it would wait for ever by default.
            Connection::Keep if session.get_keepalive().is_some() => {
                session.set_keepalive(Some(KEEP_ALIVE.as_secs()));
            }
            Connection::Keep => {}
            Connection::Close => session.set_keepalive(None),
            Connection::Cut => {
                // HTTP/1 is cut by being dropped unfinished, an HTTP/2 stream by a reset.
                session.shutdown().await;
                return None;
            }
        }
        let mut settings = HttpPersistentSettings::for_session(&session);
        settings.set_user_context(Box::new(Reused));
        let stream = session.finish().await.ok().flatten()?;
        Some(ReusedHttpStream::from_reusable_stream(stream, settings))
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        Some(&self.options)
    }
}

impl Proxy {
    fn client_address(&self, session: &ServerSession, context: &Context<'_>) -> Option<IpAddr> {
        let peer = session.client_addr()?.as_inet()?.ip();
        let trusted = &context.snapshot.trusted_proxies;
        Some(client_address(peer, &session.req_header().headers, trusted))
    }

    /// Reads the request's head; false when there is none to serve.
    ///
    /// A head that drips in is cut at `header_timeout`; on a connection that is kept alive the
    /// clock also covers the wait for the request, so `KEEP_ALIVE` is added.
    async fn read_head(&self, session: &mut ServerSession) -> bool {
        let header_timeout = self.runtime.header_timeout();
        let patience = match session.take_connection_user_context() {
            Some(_) => header_timeout + KEEP_ALIVE,
            None => header_timeout,
        };
        let read = timeout(patience, session.read_request()).await;
        let too_slow = match read {
            Ok(Ok(there_is_one)) => return there_is_one,
            Ok(Err(error)) if error.etype == ErrorType::InvalidHTTPHeader => false,
            Ok(Err(error)) => {
                debug!(%error, "connection closed before a request");
                return false;
            }
            Err(_) => true,
        };
        let mut context = Context::of_unreadable(&self.runtime);
        let refusal = unreadable_head(too_slow);
        request::refuse(session, &mut context, Dialect::OpenAi, refusal).await;
        request::settle(context);
        session.shutdown().await;
        false
    }
}
