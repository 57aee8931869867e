//! One keep-alive connection.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use memchr::memmem;
use tokio::net::TcpStream;

use super::scenario::Errand;

/// Longer than any answer of a fake provider; what takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// A call that was answered completely.
pub(crate) struct Answered {
    pub(super) at: Instant,
    /// Of a stream: its first bytes, and how many events it had.
    pub(super) stream: Option<(Instant, u64)>,
}

/// A call that was not; the report counts them by this text.
pub(crate) type Failure = String;

/// The failure of a call that was not sent: nobody listens.
pub(crate) const NOT_SENT: &str = "connect";

/// An answer's body, read to its end.
struct Body {
    stream: Option<(Instant, u64)>,
    /// It ends as a good answer does.
    is_whole: bool,
}

pub(crate) struct Caller {
    addr: SocketAddr,
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl Caller {
    pub(crate) fn new(addr: SocketAddr) -> Self {
        Self { addr, sender: None }
    }

    pub(crate) async fn call(&mut self, errand: Errand) -> Result<Answered, Failure> {
        let attempt = tokio::time::timeout(PATIENCE, self.attempt(errand)).await;
        let attempt = attempt.unwrap_or_else(|_| Err("timeout".to_owned()));
        // After a failure the connection may be in any state; after a refusal it is as before.
        if attempt.is_err() {
            self.sender = None;
        }
        let (status, body) = attempt?;
        if status != StatusCode::OK {
            return Err(format!("status {}", status.as_u16()));
        }
        if !body.is_whole {
            return Err("incomplete".to_owned());
        }
        Ok(Answered {
            at: Instant::now(),
            stream: body.stream,
        })
    }

    async fn attempt(&mut self, errand: Errand) -> Result<(StatusCode, Body), Failure> {
        let sender = self.sender().await?;
        let sent = sender.send_request(errand.request).await;
        let response = sent.map_err(|_| "no answer".to_owned())?;
        let status = response.status();
        Ok((status, read(response, errand.streams).await?))
    }

    /// The open connection, or a new one when the target closed it between
    /// two calls, which it may.
    async fn sender(&mut self) -> Result<&mut SendRequest<Full<Bytes>>, Failure> {
        let open = match &mut self.sender {
            Some(sender) => sender.ready().await.is_ok(),
            None => false,
        };
        if !open {
            self.sender = Some(connect(self.addr).await.map_err(|_| NOT_SENT.to_owned())?);
        }
        self.sender.as_mut().ok_or_else(|| NOT_SENT.to_owned())
    }
}

async fn connect(addr: SocketAddr) -> anyhow::Result<SendRequest<Full<Bytes>>> {
    let socket = TcpStream::connect(addr).await?;
    socket.set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await?;
    tokio::spawn(connection);
    sender.ready().await?;
    Ok(sender)
}

async fn read(response: Response<Incoming>, streams: bool) -> Result<Body, Failure> {
    let mut body = response.into_body();
    let mut first = None;
    let mut events = 0;
    let mut tail = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| "broken off".to_owned())?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        first.get_or_insert_with(Instant::now);
        if streams {
            events += ends(&data, tail.last().copied());
        }
        keep_tail(&mut tail, &data);
    }
    let is_whole = if streams {
        tail.ends_with(DONE)
    } else {
        tail.trim_ascii_end().ends_with(b"}")
    };
    Ok(Body {
        stream: first.filter(|_| streams).map(|first| (first, events)),
        is_whole,
    })
}

const DONE: &[u8] = b"data: [DONE]\n\n";

/// How many events end in `data`; `before` is the byte before it.
fn ends(data: &[u8], before: Option<u8>) -> u64 {
    let across = u64::from(before == Some(b'\n') && data.first() == Some(&b'\n'));
    across + memmem::find_iter(data, b"\n\n").count() as u64
}

/// The last bytes of the body, enough to see how it ends.
fn keep_tail(tail: &mut Vec<u8>, data: &[u8]) {
    tail.extend_from_slice(&data[data.len().saturating_sub(DONE.len())..]);
    tail.drain(..tail.len().saturating_sub(DONE.len()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_counted_across_pieces() {
        let (mut tail, mut events) = (Vec::new(), 0);
        for piece in ["data: a\n\ndata: b\n", "\nda", "ta: [DONE]\n", "\n"] {
            events += ends(piece.as_bytes(), tail.last().copied());
            keep_tail(&mut tail, piece.as_bytes());
        }
        assert_eq!((events, tail.as_slice()), (3, DONE));
    }
}
