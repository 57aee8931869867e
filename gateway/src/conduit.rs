//! The byte stream under a session: Pingora's stream with a few bytes to read first and a write
//! buffer.
//!
//! It is made for two moments that Pingora's own stream has no way for. Downstream, the first
//! bytes of a connection are read under a deadline before anything parses them; and a response's
//! head and body are joined into one send. Upstream, an answer that arrives while the request is
//! still being sent has been read by then, and must be read again by the HTTP/1 session.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Buf, BytesMut};
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::{SslDigest, TlsRef};
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    Stream, TimingDigest, UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufWriter, ReadBuf};

/// Room for a usual response's head and body together. A larger body passes by the buffer.
const WRITE_BUFFER: usize = 8 * 1024;

#[derive(Debug)]
pub struct Conduit {
    /// Read before the stream is.
    prefix: BytesMut,
    io: BufWriter<Stream>,
}

impl Conduit {
    /// Puts `prefix` in front of what is read from `stream`.
    pub fn new(prefix: BytesMut, stream: Stream) -> Self {
        Self {
            prefix,
            io: BufWriter::with_capacity(WRITE_BUFFER, stream),
        }
    }
}

impl AsyncRead for Conduit {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.prefix.is_empty() {
            return Pin::new(self.io.get_mut()).poll_read(cx, buf);
        }
        let len = self.prefix.len().min(buf.remaining());
        buf.put_slice(&self.prefix[..len]);
        self.prefix.advance(len);
        if self.prefix.is_empty() {
            // The buffer may be as large as a whole first request; its memory is not kept.
            self.prefix = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Conduit {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[async_trait]
impl Shutdown for Conduit {
    async fn shutdown(&mut self) {
        // What was buffered for a peer that is gone has nowhere to go.
        let _ = self.io.flush().await;
        Shutdown::shutdown(&mut **self.io.get_mut()).await;
    }
}

impl UniqueID for Conduit {
    fn id(&self) -> UniqueIDType {
        self.io.get_ref().id()
    }
}

impl Ssl for Conduit {
    fn get_ssl(&self) -> Option<&TlsRef> {
        self.io.get_ref().get_ssl()
    }

    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.io.get_ref().get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.io.get_ref().selected_alpn_proto()
    }
}

impl GetTimingDigest for Conduit {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.io.get_ref().get_timing_digest()
    }

    fn get_read_pending_time(&self) -> Duration {
        self.io.get_ref().get_read_pending_time()
    }

    fn get_write_pending_time(&self) -> Duration {
        self.io.get_ref().get_write_pending_time()
    }
}

impl GetProxyDigest for Conduit {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.io.get_ref().get_proxy_digest()
    }

    fn set_proxy_digest(&mut self, digest: ProxyDigest) {
        self.io.get_mut().set_proxy_digest(digest);
    }
}

impl GetSocketDigest for Conduit {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.io.get_ref().get_socket_digest()
    }

    fn set_socket_digest(&mut self, digest: SocketDigest) {
        self.io.get_mut().set_socket_digest(digest);
    }
}

#[async_trait]
impl Peek for Conduit {
    /// Shows the prefix only, which the listener has filled as far as a preface could be told
    /// from a request line. Pingora takes `false` for "this is HTTP/2", so a prefix that is
    /// shorter than the preface is shown with zeros behind it: it is then no preface.
    async fn try_peek(&mut self, buf: &mut [u8]) -> io::Result<bool> {
        let len = self.prefix.len().min(buf.len());
        buf[..len].copy_from_slice(&self.prefix[..len]);
        buf[len..].fill(0);
        Ok(true)
    }
}
