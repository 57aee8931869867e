//! A provider and a gateway before it, for every pair of HTTP versions; and providers that say
//! exactly what a test wrote.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use turnpike_loadtest::{FakeProvider, Options, Protocol};

use crate::caller::{Caller, origin};
use crate::harness::{House, Http, PATIENCE, chat, config};

/// A gateway between a client of one HTTP version and a provider of another.
pub struct Pair {
    pub client: Http,
    pub upstream: Protocol,
    pub provider: FakeProvider,
    pub house: House,
}

impl Pair {
    /// `server` is what more stands in the configuration's `server`, such as
    /// `timeouts: {idle: 200ms}`. The first of the credentials is always tried first.
    pub async fn new(client: Http, upstream: Protocol, credentials: usize, server: &str) -> Self {
        let provider = FakeProvider::start(Options::new(upstream)).await;
        let base_url = origin(&provider.base_url(), upstream);
        let house = House::serve(&settings(&base_url, credentials, server)).await;
        Self {
            client,
            upstream,
            provider,
            house,
        }
    }

    pub async fn caller(&self) -> Caller {
        Caller::connect(&self.house, self.client).await
    }
}

/// Runs a test over {HTTP/1, HTTP/2} × {HTTP/1, HTTP/2 upstream}. The output of one that fails
/// ends with the pair it failed with.
pub async fn everywhere(credentials: usize, server: &str, test: impl AsyncFn(&Pair)) {
    for client in [Http::One, Http::Two] {
        for upstream in [Protocol::Http1, Protocol::H2c] {
            println!("client HTTP/{client:?}, upstream {upstream:?}");
            let pair = Pair::new(client, upstream, credentials, server).await;
            let run = tokio::time::timeout(PATIENCE * 3, test(&pair));
            run.await.expect("the test ends");
            pair.house.settled().await;
        }
    }
}

/// A configuration with more in its `server`.
pub fn settings(base_url: &str, credentials: usize, server: &str) -> String {
    let port = "server: {port: 0";
    let with_more = format!("{port}, {server}}}").replace(", }", "}");
    config(base_url, credentials).replace(&format!("{port}}}"), &with_more)
        + "routing: {strategy: priority}\n"
}

/// A chat that asks for a stream.
pub fn streamed_chat(model: &str) -> String {
    chat(model).replacen('{', r#"{"stream":true,"#, 1)
}

/// Serves each connection to a port of its own with `serve`; the URL's origin.
pub async fn stub<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> String
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            tokio::spawn(serve(tcp));
        }
    });
    format!("http://{addr}")
}

/// A provider that answers every request with these bytes.
pub async fn answering(bytes: &'static [u8]) -> String {
    stub(async move |mut tcp: TcpStream| {
        while read_request(&mut tcp).await.is_some() {
            tcp.write_all(bytes).await.unwrap();
        }
    })
    .await
}

/// Reads a request that has a `content-length`, and returns it; `None` at the connection's end.
pub async fn read_request(tcp: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(tcp.read_u8().await.ok()?);
    }
    let mut request = String::from_utf8(head).unwrap();
    let length = request
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    tcp.read_exact(&mut body).await.ok()?;
    request.push_str(&String::from_utf8_lossy(&body));
    Some(request)
}

/// A connection whose bytes a test writes and reads itself.
pub struct Wire(pub TcpStream);

impl Wire {
    pub async fn to(addr: SocketAddr) -> Self {
        Self(TcpStream::connect(addr).await.unwrap())
    }

    pub async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// Reads until what was read ends with `end`.
    pub async fn read_to(&mut self, end: &str) -> String {
        let mut text = Vec::new();
        let reading = async {
            while !text.ends_with(end.as_bytes()) {
                text.push(self.0.read_u8().await.unwrap());
            }
        };
        if tokio::time::timeout(PATIENCE, reading).await.is_err() {
            panic!("no {end:?} in {:?}", String::from_utf8_lossy(&text));
        }
        String::from_utf8(text).unwrap()
    }

    /// Reads an answer that has a `content-length`: its head and its body.
    pub async fn answer(&mut self) -> (String, String) {
        let head = self.read_to("\r\n\r\n").await.to_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .unwrap_or_else(|| panic!("no length: {head}"));
        let mut body = vec![0; length.parse().unwrap()];
        self.0.read_exact(&mut body).await.unwrap();
        (head, String::from_utf8(body).unwrap())
    }

    /// Reads until the gateway closes the connection.
    pub async fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        let reading = self.0.read_to_end(&mut rest);
        let read = tokio::time::timeout(PATIENCE, reading).await;
        read.expect("the connection is closed").unwrap();
        String::from_utf8(rest).unwrap()
    }
}

/// Waits for something that must come, however slow the machine is.
pub async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work)
        .await
        .expect("it comes about")
}

/// Waits until `count` has not moved for a while; a machine that is too slow to move it only makes
/// it smaller.
pub async fn at_rest(count: impl Fn() -> usize) -> usize {
    let mut before = count();
    loop {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let now = count();
        if now == before && now > 0 {
            return now;
        }
        before = now;
    }
}
