//! Calls through egress proxies, and past them.

use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::TcpStream;
use turnpike::boot::{self, Source};
use turnpike::clock::Time;
use turnpike::configuration;
use turnpike_config::Environment;
use turnpike_loadtest::{FakeProvider, Protocol};

use crate::caller::origin;
use crate::harness::{Answer, Client, House, Http, KEY, NO_COOLDOWN, chat};
use crate::pair::stub;

const CHAT: &str = "/v1/chat/completions";

/// What the proxies here expect of who uses them.
const USER: &str = "egress";
const PASSWORD: &str = "wide-open-99";

#[tokio::test]
async fn direct_and_proxied_calls_never_share_a_connection() {
    for upstream in [Protocol::Http1, Protocol::H2c] {
        for scheme in ["http", "socks5"] {
            println!("upstream {upstream:?}, by {scheme}");
            let provider = FakeProvider::start(upstream).await;
            let proxy = Proxy::start(scheme, false).await;
            let base_url = origin(&provider.base_url(), upstream);
            let models = [("plain", None), ("tunnel", Some(proxy.url.as_str()))];
            let house = serve(&[], &base_url, &models, "").await;
            let mut client = Client::connect(&house, Http::One).await;
            for model in ["plain", "tunnel", "plain", "tunnel"] {
                let answer = client.post(CHAT, chat(model)).await;
                assert_eq!(answer.status, 200, "{model}: {}", answer.text());
            }
            let connections: Vec<u64> = provider.calls().iter().map(|c| c.connection_id).collect();
            assert_eq!(connections, [1, 2, 1, 2]);
            assert_eq!(proxy.tunnels(), [provider.addr().to_string()]);
            house.settled().await;
        }
    }
}

#[tokio::test]
async fn tls_goes_through_a_tunnel_end_to_end() {
    for scheme in ["http", "socks5"] {
        for protocol in [Protocol::Tls, Protocol::TlsH1] {
            println!("upstream {protocol:?}, by {scheme}");
            let provider = FakeProvider::start(protocol).await;
            let proxy = Proxy::start(scheme, false).await;
            let environment = [("HTTPS_PROXY", proxy.url.as_str())];
            let models = [("inherits", None)];
            let base_url = provider.base_url();
            let house = serve(&environment, &base_url, &models, provider.ca_pem()).await;
            let answer = ask(&house, "inherits").await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            // The proxy resolves the name, so it is the name that it is told.
            assert_eq!(
                proxy.tunnels(),
                [format!("localhost:{}", provider.addr().port())]
            );
            house.settled().await;
        }
    }
}

#[tokio::test]
async fn direct_passes_the_environments_proxy_by() {
    let provider = FakeProvider::start(Protocol::Http1).await;
    let proxy = Proxy::start("http", false).await;
    let environment = [("HTTP_PROXY", proxy.url.as_str())];
    let models = [("inherits", None), ("direct", Some("direct"))];
    let house = serve(&environment, &provider.base_url(), &models, "").await;
    assert_eq!(ask(&house, "direct").await.status, 200);
    assert_eq!(proxy.tunnels(), [""; 0]);
    assert_eq!(ask(&house, "inherits").await.status, 200);
    assert_eq!(proxy.tunnels(), [provider.addr().to_string()]);
    house.settled().await;
}

#[tokio::test]
async fn no_proxy_passes_the_environments_proxy_by() {
    let provider = FakeProvider::start(Protocol::Http1).await;
    let proxy = Proxy::start("http", false).await;
    for (no_proxy, tunnels) in [("127.0.0.0/8, other", 0), ("other.example", 1)] {
        let environment = [("HTTP_PROXY", proxy.url.as_str()), ("NO_PROXY", no_proxy)];
        let models = [("inherits", None)];
        let house = serve(&environment, &provider.base_url(), &models, "").await;
        assert_eq!(ask(&house, "inherits").await.status, 200);
        assert_eq!(proxy.tunnels().len(), tunnels, "{no_proxy}");
        house.settled().await;
    }
}

#[tokio::test]
async fn a_proxy_that_refuses_is_an_unreachable_provider() {
    let provider = FakeProvider::start(Protocol::Http1).await;
    for scheme in ["http", "socks5"] {
        let proxy = Proxy::start(scheme, true).await;
        let models = [("tunnel", Some(proxy.url.as_str()))];
        let house = serve(&[], &provider.base_url(), &models, "").await;
        let answer = ask(&house, "tunnel").await;
        assert_eq!(answer.status, 502, "{scheme}");
        assert_eq!(answer.json()["error"]["code"], "upstream_unreachable");
        for secret in [USER, PASSWORD, "407", "127.0.0.1"] {
            assert!(!answer.text().contains(secret), "{}", answer.text());
        }
        assert!(!house.metrics().contains(PASSWORD));
        assert_eq!(proxy.tunnels(), ["refused"]);
        house.settled().await;
    }
    assert_eq!(provider.count(), 0);
}

/// Serves one provider a model, each with its proxy.
async fn serve(
    environment: &[(&str, &str)],
    base_url: &str,
    models: &[(&str, Option<&str>)],
    ca_pem: &str,
) -> House {
    let dir = tempfile::tempdir().unwrap();
    let mut yaml = format!(
        "server: {{port: 0}}\nadmin: {{port: 0}}\napi_keys: [{{key: {KEY}, name: tests}}]\n{NO_COOLDOWN}"
    );
    if !ca_pem.is_empty() {
        std::fs::write(dir.path().join("ca.pem"), ca_pem).unwrap();
        yaml.push_str("egress: {ca_file: ca.pem}\n");
    }
    yaml.push_str("providers:\n");
    for (model, proxy) in models {
        let proxy = proxy.map_or(String::new(), |url| format!("proxy_url: \"{url}\", "));
        yaml.push_str(&format!(
            "  {model}: {{kind: openai, base_url: \"{base_url}/v1\", models: [{model}], \
             {proxy}credentials: [{{api_key: sk-{model}}}]}}\n"
        ));
    }
    let config = dir.path().join("turnpike.yaml");
    std::fs::write(&config, &yaml).unwrap();
    let environment = Environment::from_pairs(environment.iter().copied());
    let plan =
        configuration::load(&config, &environment).unwrap_or_else(|problems| panic!("{problems}"));
    let source = Source {
        path: config.clone(),
        environment,
    };
    crate::canary::know_all(&yaml, dir.path());
    let gateway = boot::start(plan, source, None, Time::system())
        .await
        .unwrap();
    House {
        watch: crate::canary::Watch::over(&gateway, &config),
        gateway,
        config,
        dir,
    }
}

async fn ask(house: &House, model: &str) -> Answer {
    Client::connect(house, Http::One)
        .await
        .post(CHAT, chat(model))
        .await
}

/// A proxy that asks who uses it.
pub(crate) struct Proxy {
    pub(crate) url: String,
    /// Where each tunnel was to lead.
    tunnels: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    pub(crate) async fn start(scheme: &'static str, refuses: bool) -> Self {
        let tunnels = Arc::new(Mutex::new(Vec::new()));
        let asked = tunnels.clone();
        let origin = stub(move |mut tcp| {
            let asked = asked.clone();
            async move {
                let target = match scheme {
                    "http" => http_target(&mut tcp, refuses).await,
                    _ => socks5_target(&mut tcp, refuses).await,
                };
                let refused = "refused".to_owned();
                asked
                    .lock()
                    .unwrap()
                    .push(target.clone().unwrap_or(refused));
                let Some(target) = target else { return };
                let mut provider = TcpStream::connect(target).await.unwrap();
                let _ = copy_bidirectional(&mut tcp, &mut provider).await;
            }
        })
        .await;
        let host = origin.trim_start_matches("http://");
        Self {
            url: format!("{scheme}://{USER}:{PASSWORD}@{host}"),
            tunnels,
        }
    }

    pub(crate) fn tunnels(&self) -> Vec<String> {
        self.tunnels.lock().unwrap().clone()
    }
}

/// RFC 9110, section 9.3.6: answers a `CONNECT` and says where to.
async fn http_target(tcp: &mut TcpStream, refuses: bool) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(tcp.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    let login = BASE64.encode(format!("{USER}:{PASSWORD}"));
    assert!(
        head.contains(&format!("\r\nProxy-Authorization: Basic {login}\r\n")),
        "{head}"
    );
    let answer = match refuses {
        true => "HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n",
        false => "HTTP/1.1 200 Connection established\r\nvia: test\r\n\r\n",
    };
    tcp.write_all(answer.as_bytes()).await.unwrap();
    let target = head
        .strip_prefix("CONNECT ")
        .unwrap()
        .split(' ')
        .next()
        .unwrap();
    (!refuses).then(|| target.to_owned())
}

/// RFC 1928 and RFC 1929: takes the login and a `CONNECT` by name, and says where to.
async fn socks5_target(tcp: &mut TcpStream, refuses: bool) -> Option<String> {
    assert_eq!(
        take(tcp, 3).await,
        [5, 1, 2],
        "one method: user and password"
    );
    tcp.write_all(&[5, 2]).await.unwrap();
    assert_eq!(tcp.read_u8().await.unwrap(), 1);
    assert_eq!(counted(tcp).await, USER);
    assert_eq!(counted(tcp).await, PASSWORD);
    tcp.write_all(&[1, u8::from(refuses)]).await.unwrap();
    if refuses {
        return None;
    }
    assert_eq!(take(tcp, 4).await, [5, 1, 0, 3], "CONNECT, by name");
    let host = counted(tcp).await;
    let port = tcp.read_u16().await.unwrap();
    tcp.write_all(&[5, 0, 0, 1, 127, 0, 0, 1, 0, 80])
        .await
        .unwrap();
    Some(format!("{host}:{port}"))
}

async fn take(tcp: &mut TcpStream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    tcp.read_exact(&mut bytes).await.unwrap();
    bytes
}

async fn counted(tcp: &mut TcpStream) -> String {
    let len = tcp.read_u8().await.unwrap();
    String::from_utf8(take(tcp, len.into()).await).unwrap()
}
