//! One upstream origin, as Pingora's connector sees it.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use pingora::protocols::l4::socket::SocketAddr;
use pingora::protocols::{ALPN, TcpKeepalive};
use pingora::upstreams::peer::{Peer, PeerOptions};
use url::{Host, Url};

use super::dial::{Dialer, EgressProxy, Policy};
use super::resolve::Resolver;

/// Idle connections older than this are closed by us before most vendors close them, so that a
/// request is rarely sent into a connection that is being closed.
pub(super) const IDLE: Duration = Duration::from_secs(55);

/// Streams on one HTTP/2 connection; another connection is opened beyond it.
const H2_STREAMS: usize = 100;

/// Where calls go: scheme, host, port, the base URL's path, and the way there.
///
/// Connections are pooled by origin *and* way: a direct and a proxied credential never share one.
#[derive(Clone)]
pub struct Endpoint(Arc<Inner>);

struct Inner {
    origin: String,
    host_header: String,
    base_path: String,
    sni: String,
    tls: bool,
    port: u16,
    address: SocketAddr,
    reuse_hash: u64,
    options: PeerOptions,
}

/// Additional roots that upstream certificates are checked against, and a digest to tell one set
/// from another.
#[derive(Clone)]
pub struct Roots {
    pub certificates: Arc<pingora::protocols::tls::CaType>,
    pub digest: u64,
}

/// How endpoints are reached, the same for all of one configuration.
#[derive(Clone)]
pub struct Way {
    pub resolver: Arc<Resolver>,
    pub connect_timeout: Duration,
    pub allow_private: bool,
    pub roots: Option<Roots>,
}

impl Endpoint {
    /// `base_url` is `http`, `https` or `h2c` (HTTP/2 in clear text) with a host.
    pub fn new(base_url: &Url, proxy: Option<EgressProxy>, way: &Way) -> Self {
        let tls = base_url.scheme() == "https";
        let alpn = match base_url.scheme() {
            "https" => ALPN::H2H1,
            "h2c" => ALPN::H2,
            _ => ALPN::H1,
        };
        let port = base_url.port_or_known_default().unwrap_or(80);
        let sni = base_url
            .host_str()
            .unwrap_or_default()
            .trim_matches(['[', ']'])
            .to_owned();
        let host_header = match base_url.port() {
            Some(port) => format!("{}:{port}", base_url.host_str().unwrap_or_default()),
            None => base_url.host_str().unwrap_or_default().to_owned(),
        };

        let mut hasher = DefaultHasher::new();
        (
            base_url.scheme(),
            &host_header,
            port,
            way.roots.as_ref().map(|roots| roots.digest),
        )
            .hash(&mut hasher);
        if let Some(proxy) = &proxy {
            let user = proxy
                .credentials
                .as_ref()
                .map(|(user, password)| (user, password.expose()));
            (proxy.protocol, &proxy.host, proxy.port, user).hash(&mut hasher);
        }

        let dialer = Dialer::new(base_url, proxy, way);
        Self(Arc::new(Inner {
            origin: format!("{}://{host_header}", base_url.scheme()),
            host_header,
            base_path: base_url.path().trim_end_matches('/').to_owned(),
            sni,
            tls,
            port,
            // Never dialled: the dialer resolves the host when it connects.
            address: SocketAddr::Inet((Ipv4Addr::UNSPECIFIED, port).into()),
            reuse_hash: hasher.finish(),
            options: options(alpn, dialer, way),
        }))
    }

    /// The `Host` header and `:authority`.
    pub fn host(&self) -> &str {
        &self.0.host_header
    }

    /// Whom calls are for: the host's name or address, and the port.
    pub fn server(&self) -> (&str, u16) {
        (&self.0.sni, self.0.port)
    }

    /// The base URL's path, without a slash at its end.
    pub fn base_path(&self) -> &str {
        &self.0.base_path
    }
}

fn options(alpn: ALPN, dialer: Dialer, way: &Way) -> PeerOptions {
    let mut options = PeerOptions::new();
    options.alpn = alpn;
    options.connection_timeout = Some(way.connect_timeout);
    options.total_connection_timeout = Some(way.connect_timeout);
    options.idle_timeout = Some(IDLE);
    options.max_h2_streams = H2_STREAMS;
    options.h2_ping_interval = Some(Duration::from_secs(30));
    options.tcp_keepalive = Some(TcpKeepalive {
        idle: Duration::from_secs(60),
        interval: Duration::from_secs(10),
        count: 3,
        user_timeout: Duration::ZERO,
    });
    options.ca = way.roots.as_ref().map(|roots| roots.certificates.clone());
    options.custom_l4 = Some(Arc::new(dialer));
    options
}

impl Dialer {
    /// The way to where this URL is.
    pub fn new(url: &Url, proxy: Option<EgressProxy>, way: &Way) -> Self {
        let host = url.host_str().unwrap_or_default();
        Self {
            host: host.trim_matches(['[', ']']).to_owned(),
            port: url.port_or_known_default().unwrap_or(80),
            proxy,
            policy: Policy {
                allow_private: way.allow_private || names_private_host(url),
            },
            resolver: way.resolver.clone(),
        }
    }
}

/// Whether the operator wrote a private or loopback address, or `localhost`: it is allowed as
/// written.
fn names_private_host(base_url: &Url) -> bool {
    let strict = Policy {
        allow_private: false,
    };
    match base_url.host() {
        Some(Host::Ipv4(ip)) => strict.refusal(ip.into()).is_some(),
        Some(Host::Ipv6(ip)) => strict.refusal(ip.into()).is_some(),
        // In a URL of `h2c`, which the URL standard does not know, an address is a name too.
        Some(Host::Domain(name)) => match name.parse::<IpAddr>() {
            Ok(ip) => strict.refusal(ip).is_some(),
            Err(_) => name == "localhost" || name.ends_with(".localhost"),
        },
        None => false,
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.origin)
    }
}

impl Peer for Endpoint {
    fn address(&self) -> &SocketAddr {
        &self.0.address
    }

    fn tls(&self) -> bool {
        self.0.tls
    }

    fn sni(&self) -> &str {
        &self.0.sni
    }

    fn reuse_hash(&self) -> u64 {
        self.0.reuse_hash
    }

    fn get_peer_options(&self) -> Option<&PeerOptions> {
        Some(&self.0.options)
    }

    /// Always: pooled connections are told apart by their hash, so asking the kernel for the
    /// address of each one that is reused would be a system call for nothing.
    fn matches_fd<V: AsRawFd>(&self, _: V) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::dial::ProxyProtocol;

    fn way() -> Way {
        Way {
            resolver: Arc::default(),
            connect_timeout: Duration::from_secs(5),
            allow_private: false,
            roots: None,
        }
    }

    fn endpoint(url: &str, proxy: Option<EgressProxy>) -> Endpoint {
        Endpoint::new(&url.parse().unwrap(), proxy, &way())
    }

    fn proxy(port: u16) -> EgressProxy {
        EgressProxy {
            protocol: ProxyProtocol::Http,
            host: "proxy".into(),
            port,
            credentials: None,
        }
    }

    #[test]
    fn connections_are_shared_by_origin_and_way() {
        let hash = |url, proxy| endpoint(url, proxy).reuse_hash();
        assert_eq!(hash("https://a/v1", None), hash("https://a/v2", None));
        assert_ne!(hash("https://a", None), hash("http://a", None));
        assert_ne!(hash("https://a", None), hash("https://b", None));
        assert_ne!(hash("https://a", None), hash("https://a:444", None));
        assert_ne!(hash("https://a", None), hash("https://a", Some(proxy(1))));
        assert_ne!(
            hash("https://a", Some(proxy(1))),
            hash("https://a", Some(proxy(2)))
        );
    }

    #[test]
    fn urls_are_taken_apart() {
        let azure = endpoint("https://res.openai.azure.com/openai/v1/", None);
        assert_eq!(
            (azure.host(), azure.base_path()),
            ("res.openai.azure.com", "/openai/v1")
        );
        let local = endpoint("http://[::1]:8080", None);
        assert_eq!(
            (local.host(), local.base_path(), local.sni()),
            ("[::1]:8080", "", "::1")
        );
    }
}
