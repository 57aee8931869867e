//! One accepted connection.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

/// What a call may do to the connection it came on.
#[derive(Default)]
pub(crate) struct Line {
    pub(crate) id: u64,
    /// Asks the connection to end once its calls are answered.
    pub(crate) retire: Notify,
    pending: AtomicBool,
    before: Mutex<Vec<u8>>,
}

impl Line {
    pub(crate) fn new(id: u64) -> Arc<Self> {
        Arc::new(Self {
            id,
            ..Self::default()
        })
    }

    /// Puts bytes in front of whatever is written next. hyper's server has no
    /// way to send an informational response; on h1 the next write is the
    /// answer's head, so this is one.
    pub(crate) fn write_before(&self, bytes: &[u8]) {
        self.lock().extend_from_slice(bytes);
        self.pending.store(true, Ordering::Release);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<u8>> {
        self.before.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The connection's bytes, with [`Line::write_before`] honoured.
pub(crate) struct Tapped<Io> {
    io: Io,
    line: Arc<Line>,
}

impl<Io: AsyncWrite + Unpin> Tapped<Io> {
    pub(crate) fn new(io: Io, line: Arc<Line>) -> Self {
        Self { io, line }
    }

    fn poll_before(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.line.pending.load(Ordering::Acquire) {
            return Poll::Ready(Ok(()));
        }
        let mut before = self.line.lock();
        while !before.is_empty() {
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, &before))?;
            before.drain(..written);
        }
        self.line.pending.store(false, Ordering::Release);
        Poll::Ready(Ok(()))
    }
}

impl<Io: AsyncRead + Unpin> AsyncRead for Tapped<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for Tapped<Io> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_before(cx))?;
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_before(cx))?;
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
