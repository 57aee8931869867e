//! Sockets: accept, TLS, h1 and h2.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::handle::handle;
use crate::line::{Line, Tapped};
use crate::options::Protocol;
use crate::provider::Shared;

/// Accepts until dropped; the connections end with it.
pub(crate) async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    let connections = AtomicU64::new(0);
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // A failed accept is the caller's reset or our lack of sockets; both pass.
                let Ok((socket, _)) = accepted else { continue };
                let line = Line::new(connections.fetch_add(1, Ordering::Relaxed) + 1);
                open.spawn(connection(socket, tls.clone(), line, shared.clone()));
            }
            Some(_) = open.join_next() => {}
        }
    }
}

async fn connection(
    socket: TcpStream,
    tls: Option<TlsAcceptor>,
    line: Arc<Line>,
    shared: Arc<Shared>,
) -> io::Result<()> {
    socket.set_nodelay(true)?;
    match tls {
        Some(tls) => talk(tls.accept(socket).await?, line, shared).await,
        None => talk(socket, line, shared).await,
    }
    Ok(())
}

async fn talk<Io>(io: Io, line: Arc<Line>, shared: Arc<Shared>)
where
    Io: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let builder = speaker(shared.options.protocol);
    let service = service_fn(|request| handle(shared.clone(), line.clone(), request));
    let io = TokioIo::new(Tapped::new(io, line.clone()));
    let mut hangup = shared.hangup.subscribe();
    let mut served = std::pin::pin!(builder.serve_connection(io, service));
    loop {
        tokio::select! {
            biased;
            // Errors are callers that left and cuts of our own.
            _ = served.as_mut() => return,
            _ = hangup.changed() => return,
            () = line.retire.notified() => served.as_mut().graceful_shutdown(),
        }
    }
}

fn speaker(protocol: Protocol) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new());
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(1000);
    match protocol {
        Protocol::Http1 | Protocol::TlsH1 => builder.http1_only(),
        Protocol::TlsH2 => builder.http2_only(),
        Protocol::H2c | Protocol::Tls => builder,
    }
}
