//! The calls that clients of each dialect make, and clients that can leave in the middle of one.

use std::fmt;
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use turnpike_loadtest::{FakeProvider, Options, Protocol};

use crate::harness::{Answer, Client, House, Http, KEY, PATIENCE, config};

/// A call whose answer is an event stream.
pub(crate) struct StreamCall {
    pub(crate) path: &'static str,
    pub(crate) body: &'static str,
    /// The provider's key that serves it in [`config`].
    pub(crate) key: &'static str,
    /// The metrics' name of the operation.
    pub(crate) operation: &'static str,
    /// What only a stream that ended well has.
    pub(crate) terminal: &'static str,
    /// Events that come before the first content.
    pub(crate) openings: usize,
}

impl fmt::Debug for StreamCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.operation)
    }
}

/// One of each dialect that has streams.
pub(crate) const STREAMS: [StreamCall; 4] = [CHAT, RESPONSES, MESSAGES, GEMINI];

pub(crate) const CHAT: StreamCall = StreamCall {
    path: "/v1/chat/completions",
    body: r#"{"model":"gpt-4o","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"hello"}]}"#,
    key: "sk-openai-1",
    operation: "chat",
    terminal: "[DONE]",
    openings: 1,
};

pub(crate) const RESPONSES: StreamCall = StreamCall {
    path: "/v1/responses",
    body: r#"{"model":"gpt-4o","stream":true,"input":"hello"}"#,
    key: "sk-openai-1",
    operation: "responses",
    terminal: "response.completed",
    openings: 4,
};

pub(crate) const MESSAGES: StreamCall = StreamCall {
    path: "/v1/messages",
    body: r#"{"model":"claude-sonnet-4-5","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"hello"}]}"#,
    key: "sk-claude-1",
    operation: "messages",
    terminal: "message_stop",
    openings: 3,
};

pub(crate) const GEMINI: StreamCall = StreamCall {
    path: "/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse",
    body: r#"{"contents":[{"parts":[{"text":"hello"}]}]}"#,
    key: "AIza-gemini-1",
    operation: "stream_generate_content",
    terminal: "finishReason",
    openings: 0,
};

/// The versions of HTTP that the client and the provider speak.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sides {
    pub(crate) client: Http,
    pub(crate) provider: Protocol,
}

/// Every pair of them.
pub(crate) const SIDES: [Sides; 4] = [
    Sides::new(Http::One, Protocol::Http1),
    Sides::new(Http::Two, Protocol::Http1),
    Sides::new(Http::One, Protocol::H2c),
    Sides::new(Http::Two, Protocol::H2c),
];

impl Sides {
    const fn new(client: Http, provider: Protocol) -> Self {
        Self { client, provider }
    }
}

/// Starts a provider, and a gateway before it with [`config`]'s providers.
pub(crate) async fn served(options: Options, credentials: usize) -> (FakeProvider, House) {
    let provider = FakeProvider::start(options).await;
    let house = House::serve(&config(&upstream(&provider), credentials)).await;
    (provider, house)
}

/// The base URL that makes the gateway speak the provider's own version of HTTP.
pub(crate) fn upstream(provider: &FakeProvider) -> String {
    let url = provider.base_url();
    match provider.options().protocol {
        Protocol::H2c => url.replacen("http://", "h2c://", 1),
        _ => url,
    }
}

/// A client on a connection of its own.
pub(crate) async fn client(house: &House, http: Http) -> Client {
    Client::connect(house, http).await
}

/// Sends a GET with the client's key.
pub(crate) async fn get(client: &mut Client, path: &str) -> Answer {
    get_with(client, path, &[("authorization", &format!("Bearer {KEY}"))]).await
}

/// Sends a GET with these headers and no key.
pub(crate) async fn get_with(client: &mut Client, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = client.request(path, Bytes::new());
    *request.method_mut() = http::Method::GET;
    replace_headers(request.headers_mut(), headers);
    Answer::read(client.send(request).await.unwrap()).await
}

/// Sends a POST with these headers and no key.
pub(crate) async fn post_with(
    client: &mut Client,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Answer {
    let mut request = client.request(path, body);
    replace_headers(request.headers_mut(), headers);
    Answer::read(client.send(request).await.unwrap()).await
}

fn replace_headers(into: &mut HeaderMap, headers: &[(&str, &str)]) {
    into.remove("authorization");
    into.remove("content-type");
    for (name, value) in headers {
        let name = http::HeaderName::try_from(*name).unwrap();
        into.append(name, value.parse().unwrap());
    }
}

/// The header that carries the client's key.
pub(crate) fn bearer() -> String {
    format!("Bearer {KEY}")
}

/// A client whose connection can be cut.
pub(crate) struct Caller {
    client: Client,
    connection: JoinHandle<()>,
}

impl Caller {
    pub(crate) async fn connect(house: &House, http: Http) -> Self {
        let tcp = TcpStream::connect(house.gateway.proxy).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        let io = TokioIo::new(tcp);
        match http {
            Http::One => {
                let (sender, connection) =
                    hyper::client::conn::http1::handshake::<_, Full<Bytes>>(io)
                        .await
                        .unwrap();
                Self {
                    client: Client::One(sender),
                    connection: tokio::spawn(async { drop(connection.await) }),
                }
            }
            Http::Two => {
                let (sender, connection) =
                    hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
                        .await
                        .unwrap();
                Self {
                    client: Client::Two(sender),
                    connection: tokio::spawn(async { drop(connection.await) }),
                }
            }
        }
    }

    pub(crate) fn request(&self, call: &StreamCall) -> Request<Full<Bytes>> {
        self.client.request(call.path, call.body)
    }

    pub(crate) async fn send(&mut self, request: Request<Full<Bytes>>) -> Response<Incoming> {
        let sending = self.client.send(request);
        tokio::time::timeout(PATIENCE, sending)
            .await
            .expect("an answer begins")
            .unwrap()
    }

    /// Cuts the connection and says when.
    pub(crate) async fn leave(self) -> Instant {
        let left = Instant::now();
        self.connection.abort();
        // The socket is closed when the task is gone.
        let _ = self.connection.await;
        left
    }
}

/// An event stream, read event by event.
pub(crate) struct Events {
    body: Incoming,
    read: Vec<u8>,
    ended: bool,
}

impl Events {
    pub(crate) fn new(body: Incoming) -> Self {
        Self {
            body,
            read: Vec::new(),
            ended: false,
        }
    }

    /// The next whole event; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(end) = end_of_event(&self.read) {
                let event = self.read.drain(..end).collect();
                return Some(String::from_utf8(event).unwrap());
            }
            if self.ended {
                assert!(self.read.is_empty(), "half an event at the end");
                return None;
            }
            let frame = tokio::time::timeout(PATIENCE, self.body.frame()).await;
            match frame.expect("an event comes or the stream ends") {
                Some(frame) => self
                    .read
                    .extend(frame.unwrap().into_data().unwrap_or_default()),
                None => self.ended = true,
            }
        }
    }
}

fn end_of_event(bytes: &[u8]) -> Option<usize> {
    ["\n\n", "\r\n\r\n"]
        .iter()
        .filter_map(|blank| {
            let at = bytes
                .windows(blank.len())
                .position(|w| w == blank.as_bytes())?;
            Some(at + blank.len())
        })
        .min()
}

/// The events of a whole stream.
pub(crate) fn events_of(text: &str) -> Vec<&str> {
    let mut rest = text;
    let mut events = Vec::new();
    while let Some(end) = end_of_event(rest.as_bytes()) {
        let (event, after) = rest.split_at(end);
        events.push(event);
        rest = after;
    }
    assert!(rest.is_empty(), "half an event at the end: {rest:?}");
    events
}
