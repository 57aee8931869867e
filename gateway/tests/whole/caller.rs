//! Clients that send their bodies in any way, and leave when told to.

use std::convert::Infallible;

use bytes::Bytes;
use futures::StreamExt;
use futures::channel::mpsc;
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use turnpike_loadtest::Protocol;

use crate::harness::{Answer, House, Http, KEY};

pub type Body = BoxBody<Bytes, Infallible>;

/// How much a chunked body sends at a time.
const PIECE: usize = 16 * 1024;

/// A body with a `Content-Length`.
pub fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed()
}

/// A body without one: chunked on HTTP/1, DATA frames alone on HTTP/2.
pub fn chunked(bytes: impl Into<Bytes>) -> Body {
    let mut rest = bytes.into();
    let pieces = std::iter::from_fn(move || {
        let len = rest.len().min(PIECE);
        (len > 0).then(|| rest.split_to(len))
    });
    streamed(futures::stream::iter(pieces))
}

/// A body that the test sends when it likes; dropping the sender ends it.
pub fn fed() -> (mpsc::UnboundedSender<Bytes>, Body) {
    let (sender, pieces) = mpsc::unbounded();
    (sender, streamed(pieces))
}

/// A body of these pieces.
pub fn streamed(pieces: impl futures::Stream<Item = Bytes> + Send + Sync + 'static) -> Body {
    BodyExt::boxed(StreamBody::new(pieces.map(|piece| Ok(Frame::data(piece)))))
}

/// A client with one connection, which ends when it leaves.
pub struct Caller {
    sender: Sender,
    connection: JoinHandle<()>,
}

enum Sender {
    One(http1::SendRequest<Body>),
    Two(http2::SendRequest<Body>),
}

impl Caller {
    pub async fn connect(house: &House, http: Http) -> Self {
        let tcp = TcpStream::connect(house.gateway.proxy).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        let io = TokioIo::new(tcp);
        match http {
            Http::One => {
                let (sender, connection) = http1::handshake(io).await.unwrap();
                Self {
                    sender: Sender::One(sender),
                    connection: tokio::spawn(async move { drop(connection.await) }),
                }
            }
            Http::Two => {
                let (sender, connection) =
                    http2::handshake(TokioExecutor::new(), io).await.unwrap();
                Self {
                    sender: Sender::Two(sender),
                    connection: tokio::spawn(async move { drop(connection.await) }),
                }
            }
        }
    }

    pub async fn send(&mut self, request: Request<Body>) -> hyper::Result<Response<Incoming>> {
        match &mut self.sender {
            Sender::One(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
            Sender::Two(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
        }
    }

    /// Sends a POST with the client's key and reads the whole answer.
    pub async fn post(&mut self, path: &str, body: impl Into<Bytes>) -> Answer {
        let request = self.request(path, whole(body));
        Answer::read(self.send(request).await.unwrap()).await
    }

    /// A POST with the client's key.
    pub fn request(&self, path: &str, body: Body) -> Request<Body> {
        let uri = match &self.sender {
            Sender::One(_) => path.to_owned(),
            Sender::Two(_) => format!("http://gateway{path}"),
        };
        let host = match &self.sender {
            Sender::One(_) => Some(("host", "gateway")),
            Sender::Two(_) => None,
        };
        let mut request = Request::post(uri)
            .header("authorization", format!("Bearer {KEY}"))
            .header("content-type", "application/json");
        if let Some((name, value)) = host {
            request = request.header(name, value);
        }
        request.body(body).unwrap()
    }

    /// Closes the connection, whatever is under way on it.
    pub async fn leave(self) {
        self.connection.abort();
        // Cancelled, which is what was asked for.
        let _ = self.connection.await;
    }
}

/// The base URL's origin, in the scheme that makes the gateway speak `protocol` to it.
pub fn origin(base_url: &str, protocol: Protocol) -> String {
    match protocol {
        Protocol::H2c => base_url.replacen("http://", "h2c://", 1),
        _ => base_url.to_owned(),
    }
}
