//! Writing a request while watching for an answer that comes before all of it is written.
//!
//! A provider may answer (413, 401) after the first kilobyte of a large upload and read no
//! further. A write that waits for it to read on would wait until its timeout; the answer is
//! there all the time.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use pingora::protocols::Stream;
use pingora::protocols::http::v1::client::HttpSession as Http1;
use pingora::protocols::http::v2::client::Http2Session;
use pingora::protocols::http::v2::write_body;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::conduit::Conduit;
use crate::upstream::Endpoint;

/// As much of an early answer as is read to know of it.
const EARLY: usize = 4096;

/// Sends the request over HTTP/1, head and body in one system call where they fit. Returns the
/// session to read the answer from, and whether all of the request was sent.
pub(super) async fn http1(
    mut stream: Stream,
    endpoint: &Endpoint,
    head: BytesMut,
    body: Bytes,
) -> io::Result<(Http1, bool)> {
    let mut writing = Writing {
        head: &head,
        body: &body,
        written: 0,
        early: BytesMut::new(),
    };
    let whole = poll_fn(|cx| writing.poll(&mut stream, cx)).await?;
    let early = writing.early;
    if !early.is_empty() {
        stream = Box::new(Conduit::new(early, stream));
    }
    Ok((Http1::new_with_options(stream, endpoint), whole))
}

struct Writing<'b> {
    head: &'b [u8],
    body: &'b [u8],
    written: usize,
    /// What came of an answer before all was written, without interim heads.
    early: BytesMut,
}

impl Writing<'_> {
    /// Writes until all is written (true), or a final answer begins (false).
    fn poll(&mut self, stream: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        loop {
            let wrote = match self.rest() {
                Some(rest) => Pin::new(&mut *stream).poll_write_vectored(cx, &rest),
                None => match Pin::new(&mut *stream).poll_flush(cx) {
                    Poll::Ready(flushed) => return Poll::Ready(flushed.map(|()| true)),
                    Poll::Pending => Poll::Pending,
                },
            };
            match wrote {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(written)) => self.written += written,
                // A provider that answered and closed makes writing fail; its answer is still
                // there to be read.
                Poll::Ready(Err(error)) => {
                    return Poll::Ready(match self.poll_answer(stream, cx) {
                        Poll::Ready(Ok(())) => Ok(false),
                        _ => Err(error),
                    });
                }
                Poll::Pending => return self.poll_answer(stream, cx).map_ok(|()| false),
            }
        }
    }

    fn rest(&self) -> Option<[IoSlice<'_>; 2]> {
        let head = self.head.get(self.written..).unwrap_or_default();
        let body = self
            .body
            .get(self.written.saturating_sub(self.head.len())..)
            .unwrap_or_default();
        (!head.is_empty() || !body.is_empty()).then(|| [IoSlice::new(head), IoSlice::new(body)])
    }

    /// Ready when a final answer begins.
    fn poll_answer(&mut self, stream: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut space = [0; EARLY];
        loop {
            let mut read = ReadBuf::new(&mut space);
            ready!(Pin::new(&mut *stream).poll_read(cx, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            self.early.extend_from_slice(read.filled());
            if drop_interim(&mut self.early) {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

/// Drops the interim heads (1xx) that `early` begins with: they are no answer. True when a final
/// one begins behind them.
fn drop_interim(early: &mut BytesMut) -> bool {
    // `HTTP/1.1 1`: the tenth byte is the status's class.
    while let Some(class) = early.get(9) {
        if *class != b'1' {
            return true;
        }
        match memchr::memmem::find(early, b"\r\n\r\n") {
            Some(end) => early.advance(end + 4),
            None => return false,
        }
    }
    false
}

/// Sends the body over HTTP/2 and waits for the answer's head, both at the same time. What is
/// left of the body when the answer comes is not sent: the stream is the request's own.
pub(super) async fn http2_body_and_answer(
    session: &mut Http2Session,
    body: Bytes,
) -> pingora::Result<()> {
    let Some(mut writer) = session.take_request_body_writer() else {
        return session.read_response_header().await;
    };
    let writing = write_body(&mut writer, body, true, None);
    let answer = session.read_response_header();
    tokio::pin!(writing, answer);
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        // A write that failed leaves it to the answer to say why, if there is one.
        _ = &mut writing => answer.await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interim_heads_are_no_answer() {
        for (early, final_one, left) in [
            ("", false, ""),
            ("HTTP/1.1 ", false, "HTTP/1.1 "),
            ("HTTP/1.1 2", true, "HTTP/1.1 2"),
            (
                "HTTP/1.1 102 Processing\r\n",
                false,
                "HTTP/1.1 102 Processing\r\n",
            ),
            ("HTTP/1.1 100 Continue\r\n\r\n", false, ""),
            (
                "HTTP/1.1 103 x\r\nlink: y\r\n\r\nHTTP/1.1 4",
                true,
                "HTTP/1.1 4",
            ),
            (
                "HTTP/1.1 100 x\r\n\r\nHTTP/1.1 102 y\r\n\r\nHT",
                false,
                "HT",
            ),
        ] {
            let mut bytes = BytesMut::from(early);
            assert_eq!(drop_interim(&mut bytes), final_one, "{early:?}");
            assert_eq!(bytes, left, "{early:?}");
        }
    }
}
