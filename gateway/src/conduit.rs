//! The byte stream under a session: Pingora's stream with a few bytes to read first and a write
//! buffer.
//!
//! It is made for two moments that Pingora's own stream has no way for. Downstream, the first
//! bytes of a connection are read under a deadline before anything parses them; and a response's
//! head and body are joined into one send. Upstream, an answer that arrives while the request is
//! still being sent has been read by then, and must be read again by the HTTP/1 session.
//!
//! A caller's also tells whether what was written to it is out: Pingora's HTTP/2 is done with an answer
//! before its connection is.

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
use pingora::time::timeout;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufWriter, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::listener::{Lingering, Open, Stuck};

/// Room for a usual response's head and body together. A larger body passes by the buffer.
const WRITE_BUFFER: usize = 8 * 1024;

/// How long a connection's end may take, with what is still to be written before it.
const TO_TAKE_LEAVE: Duration = Duration::from_secs(1);

/// How long a caller over HTTP/2 has to read the last of what was sent, and to close.
const LINGER: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub struct Conduit {
    /// Read before the stream is.
    prefix: BytesMut,
    io: BufWriter<Stream>,
    /// The callers' connections, where this is one of them.
    open: Option<Arc<Open>>,
    /// What was written has not all gone.
    stuck: Option<Stuck>,
    /// It is read on when it is closed.
    lingers: bool,
    /// Until when, once that is so.
    leaving: Option<Pin<Box<Sleep>>>,
    /// That it is so, as the others are told.
    lingering: Option<Lingering>,
}

impl Conduit {
    /// Puts `prefix` in front of what is read from `stream`.
    pub fn new(prefix: BytesMut, stream: Stream) -> Self {
        Self {
            prefix,
            io: BufWriter::with_capacity(WRITE_BUFFER, stream),
            open: None,
            stuck: None,
            lingers: false,
            leaving: None,
            lingering: None,
        }
    }

    /// The same of a caller's connection. One over HTTP/2 lingers when it is closed: its caller speaks
    /// while it reads.
    pub fn to_caller(prefix: BytesMut, stream: Stream, open: Arc<Open>, http2: bool) -> Self {
        Self {
            open: Some(open),
            lingers: http2,
            ..Self::new(prefix, stream)
        }
    }

    /// Reads what still comes until the caller has closed, too: it may be reading what the kernel has for it,
    /// and speak of that, and would be answered with a reset that takes the rest away.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.lingering.is_none() {
            self.lingering = self.open.as_ref().map(Lingering::among);
        }
        let until = self.leaving.get_or_insert_with(|| Box::pin(sleep(LINGER)));
        if until.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let mut space = [0; 1024];
        loop {
            let mut read = ReadBuf::new(&mut space);
            match ready!(Pin::new(self.io.get_mut()).poll_read(cx, &mut read)) {
                Ok(()) if !read.filled().is_empty() => {}
                Ok(()) | Err(_) => return Poll::Ready(()),
            }
        }
    }

    /// Notes that a write found no room.
    fn note<T>(&mut self, wrote: Poll<T>) -> Poll<T> {
        if wrote.is_pending() && self.stuck.is_none() {
            self.stuck = self.open.as_ref().map(Stuck::among);
        }
        wrote
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
        let wrote = Pin::new(&mut self.io).poll_write(cx, buf);
        self.note(wrote)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        if flushed.is_ready() {
            self.stuck = None;
        }
        self.note(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_flush(cx))?;
        if self.leaving.is_none() {
            ready!(Pin::new(&mut self.io).poll_shutdown(cx))?;
        }
        match self.lingers {
            true => self.poll_linger(cx).map(Ok),
            false => Poll::Ready(Ok(())),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.note(wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[async_trait]
impl Shutdown for Conduit {
    async fn shutdown(&mut self) {
        let shutting_down = async {
            // What was buffered for a peer that is gone has nowhere to go.
            let _ = self.io.flush().await;
            Shutdown::shutdown(&mut **self.io.get_mut()).await;
        };
        // One that is there and reads nothing would have its connection kept for ever.
        let _ = timeout(TO_TAKE_LEAVE, shutting_down).await;
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, duplex};

    use super::*;

    #[tokio::test]
    async fn what_a_caller_has_no_room_for_is_known() {
        let open = Arc::<Open>::default();
        let (ours, mut theirs) = duplex(8);
        let mut conduit = Conduit::to_caller(BytesMut::new(), Box::new(ours), open.clone(), true);
        conduit
            .write_all(b"an answer that is longer")
            .await
            .unwrap();
        assert_eq!(open.stuck(), 0, "nobody has tried to send it yet");
        let mut read = [0; 24];
        let reading = async {
            tokio::task::yield_now().await;
            assert_eq!(open.stuck(), 1);
            theirs.read_exact(&mut read).await.unwrap();
        };
        let (flushed, ()) = tokio::join!(conduit.flush(), reading);
        flushed.unwrap();
        assert_eq!(open.stuck(), 0);
    }

    #[tokio::test]
    async fn a_closed_connection_is_read_until_its_caller_closes_too() {
        let (ours, mut theirs) = duplex(64);
        let open = Arc::<Open>::default();
        let mut conduit = Conduit::to_caller(BytesMut::new(), Box::new(ours), open.clone(), true);
        conduit.write_all(b"the last answer").await.unwrap();
        let closing = AsyncWriteExt::shutdown(&mut conduit);
        let reading = async {
            let mut read = Vec::new();
            theirs.read_to_end(&mut read).await.unwrap();
            assert_eq!(read, b"the last answer");
            theirs.write_all(b"I have read it").await.unwrap();
            assert_eq!(open.lingering(), 1);
            drop(theirs);
        };
        let (closed, ()) = tokio::join!(closing, reading);
        closed.unwrap();
        drop(conduit);
        assert_eq!(open.lingering(), 0);
    }

    #[tokio::test]
    async fn a_caller_who_reads_nothing_does_not_keep_its_connection() {
        let open = Arc::<Open>::default();
        let (ours, _theirs) = duplex(8);
        let mut conduit = Conduit::to_caller(BytesMut::new(), Box::new(ours), open.clone(), true);
        conduit
            .write_all(b"an answer that is longer")
            .await
            .unwrap();
        Shutdown::shutdown(&mut conduit).await;
        drop(conduit);
        assert_eq!(open.stuck(), 0);
    }
}
