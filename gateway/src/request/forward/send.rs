//! Writing a request while watching for an answer that comes before all of it is written.
//!
//! A provider may answer (413, 401) after the first kilobyte of a large upload and read no
//! further. A write that waits for it to read on would wait until its timeout; the answer is
//! there all the time.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
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
    };
    let whole = match poll_fn(|cx| writing.poll(&mut stream, cx)).await? {
        Sent::Whole => true,
        Sent::Answered(early) => {
            stream = Box::new(Conduit::new(early, stream));
            false
        }
    };
    Ok((Http1::new_with_options(stream, endpoint), whole))
}

enum Sent {
    Whole,
    /// Bytes of an answer came first.
    Answered(BytesMut),
}

struct Writing<'b> {
    head: &'b [u8],
    body: &'b [u8],
    written: usize,
}

impl Writing<'_> {
    fn poll(&mut self, stream: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<Sent>> {
        loop {
            let wrote = match self.rest() {
                Some(rest) => Pin::new(&mut *stream).poll_write_vectored(cx, &rest),
                None => match Pin::new(&mut *stream).poll_flush(cx) {
                    Poll::Ready(flushed) => return Poll::Ready(flushed.map(|()| Sent::Whole)),
                    Poll::Pending => Poll::Pending,
                },
            };
            match wrote {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(written)) => self.written += written,
                // A provider that answered and closed makes writing fail; its answer is still
                // there to be read.
                Poll::Ready(Err(error)) => {
                    return match early_answer(stream, cx) {
                        Poll::Ready(Ok(early)) => Poll::Ready(Ok(Sent::Answered(early))),
                        _ => Poll::Ready(Err(error)),
                    };
                }
                Poll::Pending => return early_answer(stream, cx).map_ok(Sent::Answered),
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
}

fn early_answer(stream: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<BytesMut>> {
    let mut space = [0; EARLY];
    let mut read = ReadBuf::new(&mut space);
    match Pin::new(stream).poll_read(cx, &mut read) {
        Poll::Ready(Ok(())) if read.filled().is_empty() => {
            Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()))
        }
        Poll::Ready(Ok(())) => Poll::Ready(Ok(BytesMut::from(read.filled()))),
        Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        Poll::Pending => Poll::Pending,
    }
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
