//! What the tests stand on: a gateway in this process, and clients for it.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use turnpike::boot::{self, Gateway, Source};
use turnpike::clock::Time;
use turnpike::configuration;
use turnpike_config::Environment;
use turnpike_loadtest::FakeProvider;

use crate::canary;

/// The key that [`config`] gives to clients.
pub const KEY: &str = "client-key-0123456789";

/// No test waits longer than this for anything; it is a safety net, not a measurement.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A gateway, its configuration file, and the directory it lies in.
pub struct House {
    pub watch: canary::Watch,
    pub gateway: Gateway,
    pub config: PathBuf,
    pub dir: TempDir,
}

impl House {
    /// Serves this configuration. `server.port` and `admin.port` should be 0.
    pub async fn serve(yaml: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self::serve_in(dir, yaml).await
    }

    /// Serves a configuration that names files beside it.
    pub async fn serve_in(dir: TempDir, yaml: &str) -> Self {
        Self::serve_by(Time::system(), dir, yaml).await
    }

    /// Serves by a clock that the test moves on.
    pub async fn serve_by(time: Time, dir: TempDir, yaml: &str) -> Self {
        let config = dir.path().join("turnpike.yaml");
        std::fs::write(&config, yaml).unwrap();
        canary::know_all(yaml, dir.path());
        let environment = Environment::from_pairs::<String, String>([]);
        let plan = configuration::load(&config, &environment)
            .unwrap_or_else(|problems| panic!("{problems}"));
        let source = Source {
            path: config.clone(),
            environment,
        };
        let gateway = boot::start(plan, source, None, time).await.unwrap();
        Self {
            watch: canary::Watch::over(&gateway, &config),
            gateway,
            config,
            dir,
        }
    }

    /// Stops the gateway, and answers with the directory and the configuration that it leaves. Its files
    /// are free: another one can be started on them, and they can be read or copied.
    pub async fn left(self) -> (TempDir, String) {
        let Self {
            watch,
            gateway,
            config,
            dir,
        } = self;
        gateway.stop().await;
        drop(gateway);
        for held in [
            "turnpike.db.lock",
            "audit-spool/lock",
            "audit-spool/usage/lock",
        ] {
            if let Ok(lock) = std::fs::File::open(dir.path().join(held)) {
                until(|| lock.try_lock().is_ok()).await;
            }
        }
        drop(watch);
        let yaml = std::fs::read_to_string(config).unwrap();
        (dir, yaml)
    }

    /// Serves one provider of each dialect, all of them `provider`, with one credential each:
    /// `sk-openai-1`, `sk-claude-1`, `AIza-gemini-1`.
    pub async fn before(provider: &FakeProvider) -> Self {
        Self::serve(&config(&provider.base_url(), 1)).await
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.gateway.proxy)
    }

    /// The exposition text of the metrics.
    pub fn metrics(&self) -> String {
        String::from_utf8(self.gateway.runtime.exposition().unwrap()).unwrap()
    }

    /// The value of one series, such as `turnpike_requests_in_flight` or
    /// `turnpike_requests_total{operation="chat",reason="",status="200"}`.
    pub fn metric(&self, series: &str) -> f64 {
        let text = self.metrics();
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.map_or(0.0, |value| value.parse().unwrap())
    }

    /// Waits until no request is under way: records are settled after the last byte is sent.
    pub async fn settled(&self) {
        until(|| self.metric("turnpike_requests_in_flight") == 0.0).await;
        assert_eq!(
            self.gateway.runtime.metrics.leases_leaked(),
            0,
            "a lease leaked"
        );
    }
}

/// Nothing but a rate limit cools, and nobody waits: for tests that call what has just failed.
pub const NO_COOLDOWN: &str = "\
    auth: {cooldown: {transient: -1, auth: -1, not_found: -1}}\n\
    max_retry_interval: 0\n";

/// `credentials` credentials for each of three providers: `sk-openai-1`…, `sk-claude-1`…,
/// `AIza-gemini-1`…. Failures do not cool.
pub fn config(base_url: &str, credentials: usize) -> String {
    let list = |prefix: &str| {
        let keys: Vec<String> = (1..=credentials)
            .map(|n| format!("{{api_key: {prefix}-{n}, label: \"{n}\"}}"))
            .collect();
        keys.join(", ")
    };
    format!(
        "server: {{port: 0}}\n\
         admin: {{port: 0}}\n\
         api_keys: [{{key: {KEY}, name: tests}}]\n\
         {NO_COOLDOWN}\
         providers:\n\
         \x20 openai: {{base_url: \"{base_url}/v1\", credentials: [{}]}}\n\
         \x20 claude: {{base_url: \"{base_url}\", credentials: [{}]}}\n\
         \x20 gemini: {{base_url: \"{base_url}\", credentials: [{}]}}\n",
        list("sk-openai"),
        list("sk-claude"),
        list("AIza-gemini"),
    )
}

/// Waits for a condition that an event on another task brings about.
pub async fn until(condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .expect("the condition came about");
}

/// The same of a condition that has to be asked for.
pub async fn until_async(condition: impl AsyncFn() -> bool) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .expect("the condition came about");
}

/// How a test's client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Http {
    One,
    /// In clear text, by prior knowledge.
    Two,
}

/// A client with one connection.
pub enum Client {
    One(hyper::client::conn::http1::SendRequest<Full<Bytes>>),
    Two(hyper::client::conn::http2::SendRequest<Full<Bytes>>),
}

impl Client {
    pub async fn connect(house: &House, http: Http) -> Self {
        let tcp = TcpStream::connect(house.gateway.proxy).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        Self::on(tcp, http).await
    }

    /// Over any stream, a TLS one for instance.
    pub async fn on(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        http: Http,
    ) -> Self {
        match http {
            Http::One => {
                let (sender, connection) =
                    hyper::client::conn::http1::handshake(TokioIo::new(stream))
                        .await
                        .unwrap();
                tokio::spawn(connection);
                Self::One(sender)
            }
            Http::Two => {
                let (sender, connection) = hyper::client::conn::http2::handshake(
                    TokioExecutor::new(),
                    TokioIo::new(stream),
                )
                .await
                .unwrap();
                tokio::spawn(connection);
                Self::Two(sender)
            }
        }
    }

    pub async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> hyper::Result<Response<Incoming>> {
        match self {
            Self::One(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
            Self::Two(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
        }
    }

    /// Sends a POST with the client's key and reads the whole answer.
    pub async fn post(&mut self, path: &str, body: impl Into<Bytes>) -> Answer {
        let request = self.request(path, body);
        Answer::read(self.send(request).await.unwrap()).await
    }

    /// A POST with the client's key.
    pub fn request(&self, path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
        let uri = match self {
            Self::One(_) => path.to_owned(),
            Self::Two(_) => format!("http://localhost{path}"),
        };
        Request::post(uri)
            .header("host", "localhost")
            .header("authorization", format!("Bearer {KEY}"))
            .header("content-type", "application/json")
            .body(Full::new(body.into()))
            .unwrap()
    }
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub async fn read(response: Response<Incoming>) -> Self {
        let (parts, body) = response.into_parts();
        let body = tokio::time::timeout(PATIENCE, body.collect())
            .await
            .expect("the answer ends");
        let body = body.unwrap().to_bytes();
        canary::answered(&parts.headers, &body);
        Self {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body,
        }
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// Sends bytes as they are and reads what comes back until the gateway closes, or `PATIENCE`.
pub async fn raw(house: &House, bytes: &[u8]) -> String {
    raw_from("127.0.0.1", house.gateway.proxy, bytes).await
}

/// The same from one of this machine's own addresses to any listener.
pub async fn raw_from(from: &str, to: SocketAddr, bytes: &[u8]) -> String {
    let socket = TcpSocket::new_v4().unwrap();
    let from: IpAddr = from.parse().unwrap();
    socket.bind((from, 0).into()).unwrap();
    let mut tcp = socket.connect(to).await.unwrap();
    tcp.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    // A gateway that keeps the connection open has answered all the same.
    let _ = tokio::time::timeout(Duration::from_secs(2), tcp.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// A minimal body for each dialect's main call.
pub fn chat(model: &str) -> String {
    format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"hello"}}]}}"#)
}
