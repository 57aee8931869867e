//! The proxy's listener: accepts, secures, and hands each connection to Pingora's HTTP server.
//!
//! It is our own rather than Pingora's service so that a taken port is an error with a text and
//! not a panic on another thread, the first bytes of a connection have a deadline, and the number
//! of connections has a cap.

use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use std::{io, iter};

use bytes::BytesMut;
use pingora::apps::ServerApp;
use pingora::protocols::l4::stream::Stream as L4Stream;
use pingora::protocols::{GetSocketDigest, SocketDigest, Stream};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::timeout;
use tracing::{debug, warn};

use crate::conduit::Conduit;
use crate::proxy::Proxy;
use crate::sockets::Socket;

/// Every HTTP/2 connection starts with it (RFC 9113, section 3.4).
const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// As much as a usual request's head needs; Pingora reads on where it is not enough.
pub const FIRST_READ: usize = 4096;

/// As many as the kernel holds of connections that are not accepted yet.
const QUEUE: usize = 1024;

/// The connections that are open, and word when one closes.
#[derive(Debug, Default)]
pub struct Open {
    count: AtomicUsize,
    /// Those of them with something to write that their callers have no room for.
    stuck: AtomicUsize,
    /// Those that are closed, and read until their callers have closed, too.
    lingering: AtomicUsize,
    closed: Notify,
}

/// A connection that has something to write for which its caller has no room.
#[derive(Debug)]
pub struct Stuck(Arc<Open>);

impl Stuck {
    pub fn among(open: &Arc<Open>) -> Self {
        open.stuck.fetch_add(1, Ordering::AcqRel);
        Self(open.clone())
    }
}

impl Drop for Stuck {
    fn drop(&mut self) {
        self.0.stuck.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A connection that is closed, and read until its caller has closed, too.
#[derive(Debug)]
pub struct Lingering(Arc<Open>);

impl Lingering {
    pub fn among(open: &Arc<Open>) -> Self {
        open.lingering.fetch_add(1, Ordering::AcqRel);
        Self(open.clone())
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        self.0.lingering.fetch_sub(1, Ordering::AcqRel);
    }
}

/// One open connection.
struct Slot(Arc<Open>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::AcqRel);
        self.0.closed.notify_one();
    }
}

impl Open {
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// How many have something to write that their callers have no room for.
    pub fn stuck(&self) -> usize {
        self.stuck.load(Ordering::Acquire)
    }

    /// How many are closed, and read until their callers have closed, too.
    pub fn lingering(&self) -> usize {
        self.lingering.load(Ordering::Acquire)
    }

    fn one_more(self: &Arc<Self>) -> Slot {
        self.count.fetch_add(1, Ordering::AcqRel);
        Slot(self.clone())
    }

    /// Waits until one more may be opened: beyond the cap, connections wait in the kernel's
    /// queue, not in memory.
    async fn slot(self: &Arc<Self>, proxy: &Proxy) -> Slot {
        loop {
            let cap = proxy.runtime.snapshot().limits.max_connections;
            if cap == 0 || self.count.load(Ordering::Acquire) < cap {
                return self.one_more();
            }
            // A cap that a reload raises is noticed within the second.
            let _ = timeout(Duration::from_secs(1), self.closed.notified()).await;
        }
    }
}

/// Accepts until the gateway closes. Connections that are open then are served on.
pub async fn serve(socket: Socket, proxy: Arc<Proxy>) {
    let drain = &proxy.runtime.drain;
    let open = drain.open.clone();
    loop {
        let accepted = tokio::select! {
            accepted = async { (open.slot(&proxy).await, socket.listener.accept().await) } => accepted,
            () = drain.until_closed() => break,
        };
        match accepted {
            (slot, Ok((tcp, peer))) => serve_one(tcp, peer, slot, &proxy),
            (_, Err(error)) => {
                warn!(%error, "cannot accept a connection; if files ran out, raise the limit of open files");
                // Out of descriptors, accept fails at once and for as long as none is closed.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    if socket.is_handed_over {
        // Who waits there is served by who has the socket next, or has it, too.
        return;
    }
    for (tcp, peer) in queued(socket.listener) {
        let slot = tokio::select! {
            biased;
            slot = open.slot(&proxy) => slot,
            // It has to be told.
            () = drain.until_cut() => open.one_more(),
        };
        serve_one(tcp, peer, slot, &proxy);
    }
}

/// Those whom the kernel has let in: they would be reset by the socket's closing.
fn queued(socket: TcpListener) -> Vec<(TcpStream, SocketAddr)> {
    let Ok(socket) = socket.into_std() else {
        return Vec::new();
    };
    let next = || {
        let (tcp, peer) = socket.accept().ok()?;
        tcp.set_nonblocking(true).ok()?;
        Some((TcpStream::from_std(tcp).ok()?, peer))
    };
    // No more than were there: others come as long as it is open.
    iter::from_fn(next).take(QUEUE).collect()
}

fn serve_one(tcp: TcpStream, peer: SocketAddr, slot: Slot, proxy: &Arc<Proxy>) {
    let proxy = proxy.clone();
    tokio::spawn(async move {
        let _slot = slot;
        if let Err(error) = connection(tcp, peer, &proxy).await {
            debug!(%error, %peer, "connection closed before a request");
        }
    });
}

async fn connection(tcp: TcpStream, peer: SocketAddr, proxy: &Arc<Proxy>) -> io::Result<()> {
    let shutdown = proxy.runtime.drain.watch();
    tcp.set_nodelay(true)?;
    let snapshot = proxy.runtime.snapshot();
    let header_timeout = snapshot.limits.header_timeout;
    let digest = SocketDigest::from_raw_fd(tcp.as_raw_fd());
    // Known from accept: the kernel need not be asked again.
    let _ = digest.peer_addr.set(Some(peer.into()));
    let mut tcp = L4Stream::from(tcp);
    tcp.set_socket_digest(digest);

    let mut stream: Stream = match &snapshot.tls {
        None => Box::new(tcp),
        Some(tls) => {
            // Boxed: what a handshake needs, the connection would carry for its whole life.
            let handshake = Box::pin(tls.acceptor.tls_handshake(tcp));
            let handshake = timeout(header_timeout, handshake).await;
            Box::new(
                handshake
                    .map_err(|_| io::ErrorKind::TimedOut)?
                    .map_err(io::Error::other)?,
            )
        }
    };
    // Also where TLS has settled the protocol: Pingora waits for HTTP/2's preface without a limit.
    let prefix = timeout(header_timeout, first_bytes(&mut stream))
        .await
        .map_err(|_| io::ErrorKind::TimedOut)??;
    drop(snapshot);
    let open = proxy.runtime.drain.open.clone();
    let http2 = prefix.starts_with(H2_PREFACE);
    let conduit: Stream = Box::new(Conduit::to_caller(prefix, stream, open, http2));
    proxy.process_new(conduit, &shutdown).await;
    Ok(())
}

/// Reads until it is clear whether the connection begins with HTTP/2's preface.
async fn first_bytes(stream: &mut Stream) -> io::Result<BytesMut> {
    let mut bytes = BytesMut::with_capacity(FIRST_READ);
    loop {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let seen = bytes.len().min(H2_PREFACE.len());
        if seen == H2_PREFACE.len() || bytes[..seen] != H2_PREFACE[..seen] {
            return Ok(bytes);
        }
    }
}
