//! Making a connection: name to address, address against the egress policy, directly or through
//! the egress proxy.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use pingora::connectors::L4Connect;
use pingora::protocols::l4::socket::SocketAddr as PeerAddr;
use pingora::protocols::l4::stream::Stream;
use pingora::{Error, ErrorType};
use thiserror::Error as ThisError;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use turnpike_api::Secret;

use super::resolve::Resolver;

/// Which addresses calls may go to, checked when connecting: what a name resolves to can change
/// after any earlier check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Policy {
    /// The configuration names this host as a private or loopback address, or as `localhost`, or
    /// allows private ranges for all.
    pub allow_private: bool,
}

impl Policy {
    /// The refusal of `ip`, if it is refused.
    pub fn refusal(self, ip: IpAddr) -> Option<&'static str> {
        match class(ip.to_canonical()) {
            Class::Public => None,
            Class::Private if self.allow_private => None,
            Class::Private => Some("is private; set `egress.allow_private` if that is meant"),
            Class::Forbidden => Some("is link-local or a cloud's metadata address"),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Class {
    Public,
    Private,
    Forbidden,
}

/// The metadata services of Alibaba Cloud, Azure and Oracle; the others' are link-local.
const METADATA: [[u8; 4]; 3] = [[100, 100, 100, 200], [168, 63, 129, 16], [192, 0, 0, 192]];

fn class(ip: IpAddr) -> Class {
    match ip {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            let metadata = METADATA.contains(&v4.octets());
            let special = v4.is_broadcast() || v4.is_multicast() || v4.is_unspecified();
            if v4.is_link_local() || special || metadata {
                Class::Forbidden
            } else if v4.is_loopback()
                || v4.is_private()
                || (a == 100 && (64..128).contains(&b))
                || a == 0
            {
                Class::Private
            } else {
                Class::Public
            }
        }
        IpAddr::V6(v6) => {
            let segments = v6.segments();
            // NAT64 and 6to4 carry an IPv4 address: it is that address that is reached.
            if segments[..6] == [0x64, 0xff9b, 0, 0, 0, 0] {
                return class(embedded_v4(segments[6], segments[7]));
            }
            if segments[0] == 0x2002 {
                return class(embedded_v4(segments[1], segments[2]));
            }
            let metadata = segments == [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254];
            if v6.is_unicast_link_local() || v6.is_multicast() || v6.is_unspecified() || metadata {
                Class::Forbidden
            } else if v6.is_loopback() || v6.is_unique_local() {
                Class::Private
            } else {
                Class::Public
            }
        }
    }
}

fn embedded_v4(high: u16, low: u16) -> IpAddr {
    let [a, b] = high.to_be_bytes();
    let [c, d] = low.to_be_bytes();
    IpAddr::from([a, b, c, d])
}

/// An egress proxy to connect through.
#[derive(Clone)]
pub struct EgressProxy {
    pub protocol: ProxyProtocol,
    pub host: String,
    pub port: u16,
    pub credentials: Option<(String, Secret)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProxyProtocol {
    /// `CONNECT` (RFC 9110, section 9.3.6).
    Http,
    /// RFC 1928, with the name resolved by the proxy.
    Socks5,
}

/// Makes the connections of one endpoint.
pub struct Dialer {
    pub host: String,
    pub port: u16,
    pub proxy: Option<EgressProxy>,
    pub policy: Policy,
    pub resolver: Arc<Resolver>,
}

/// Why no connection was made. The texts reach logs, never callers.
#[derive(Debug, ThisError)]
pub enum DialError {
    #[error("cannot resolve {host}: {cause}")]
    Resolve { host: String, cause: Arc<io::Error> },
    #[error("{host} resolves to {ip}, which {why}")]
    Refused {
        host: String,
        ip: IpAddr,
        why: &'static str,
    },
    #[error("{ip} {why}")]
    RefusedLiteral { ip: IpAddr, why: &'static str },
    #[error("cannot connect to {addr}: {cause}")]
    Connect { addr: SocketAddr, cause: io::Error },
    #[error("the egress proxy {proxy} did not open a tunnel to {host}: {why}")]
    Tunnel {
        proxy: String,
        host: String,
        why: String,
    },
}

impl std::fmt::Debug for Dialer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "dialer of {}:{}", self.host, self.port)
    }
}

#[async_trait]
impl L4Connect for Dialer {
    async fn connect(&self, _: &PeerAddr) -> pingora::Result<Stream> {
        match self.dial().await {
            Ok(tcp) => Ok(tcp.into()),
            Err(error) => Err(Error::because(ErrorType::ConnectError, "dialling", error)),
        }
    }
}

impl Dialer {
    /// A connection, through the proxy where there is one.
    pub async fn dial(&self) -> Result<TcpStream, DialError> {
        match &self.proxy {
            None => self.direct().await,
            Some(proxy) => self.through(proxy).await,
        }
    }

    async fn direct(&self) -> Result<TcpStream, DialError> {
        connect(&self.resolver, &self.host, self.port, Some(self.policy)).await
    }

    async fn through(&self, proxy: &EgressProxy) -> Result<TcpStream, DialError> {
        self.allowed_literal()?;
        // The proxy is the operator's own, and is reached wherever it is.
        let mut tcp = connect(&self.resolver, &proxy.host, proxy.port, None).await?;
        let tunnel = match proxy.protocol {
            ProxyProtocol::Http => http_connect(&mut tcp, proxy, &self.host, self.port).await,
            ProxyProtocol::Socks5 => socks5_connect(&mut tcp, proxy, &self.host, self.port).await,
        };
        tunnel.map(|()| tcp).map_err(|why| DialError::Tunnel {
            proxy: format!("{}:{}", proxy.host, proxy.port),
            host: self.host.clone(),
            why: why.to_string(),
        })
    }

    /// A name is resolved by the proxy, out of sight; an address can be judged here.
    fn allowed_literal(&self) -> Result<(), DialError> {
        let Ok(ip) = self.host.parse() else {
            return Ok(());
        };
        match self.policy.refusal(ip) {
            Some(why) => Err(DialError::RefusedLiteral { ip, why }),
            None => Ok(()),
        }
    }
}

/// Connects to the first address of `host` that is allowed and answers.
async fn connect(
    resolver: &Resolver,
    host: &str,
    port: u16,
    policy: Option<Policy>,
) -> Result<TcpStream, DialError> {
    let failed = |cause| DialError::Resolve {
        host: host.to_owned(),
        cause,
    };
    let found = resolver.lookup(host, port).await.map_err(failed)?;
    first_to_answer(&found, |addr| {
        let why = policy.and_then(|policy| policy.refusal(addr.ip()));
        let refused = why.map(|why| DialError::Refused {
            host: host.to_owned(),
            ip: addr.ip(),
            why,
        });
        async move {
            match refused {
                Some(refused) => Err(refused),
                None => TcpStream::connect(addr)
                    .await
                    .map_err(|cause| DialError::Connect { addr, cause }),
            }
        }
    })
    .await
    .unwrap_or_else(|| Err(failed(Arc::new(io::ErrorKind::NotFound.into()))))
}

/// How long an address is waited for before the next is tried beside it, as RFC 8305 (section 5)
/// recommends. An address that is only slow may still win, so this need not be longer for far
/// hosts.
const HEAD_START: Duration = Duration::from_millis(250);

/// Tries the addresses in turn, so that a dead one delays the others and no more; when all fail,
/// the last one's error is told. `None` when there is none.
async fn first_to_answer<T, E, F>(
    addresses: &[SocketAddr],
    dial: impl Fn(SocketAddr) -> F,
) -> Option<Result<T, E>>
where
    T: Send + 'static,
    E: Send + 'static,
    F: Future<Output = Result<T, E>> + Send + 'static,
{
    let mut waiting = addresses.iter().copied().map(dial);
    // Those still under way when this is dropped are given up.
    let mut tried = JoinSet::new();
    let mut last = None;
    loop {
        if let Some(next) = waiting.next() {
            tried.spawn(next);
        }
        match timeout(HEAD_START, tried.join_next()).await {
            Ok(Some(Ok(Ok(connected)))) => return Some(Ok(connected)),
            Ok(Some(Ok(Err(error)))) => last = Some(Err(error)),
            Ok(None) => return last,
            // It panicked, or the head start is over.
            Ok(Some(Err(_))) | Err(_) => {}
        }
    }
}

/// An answer's head longer than this is no proxy's.
const CONNECT_HEAD: usize = 8 * 1024;

async fn http_connect(
    tcp: &mut TcpStream,
    proxy: &EgressProxy,
    host: &str,
    port: u16,
) -> io::Result<()> {
    let target = if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    };
    let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
    if let Some((user, password)) = &proxy.credentials {
        let credentials = BASE64.encode(format!("{user}:{}", password.expose()));
        request.push_str(&format!("Proxy-Authorization: Basic {credentials}\r\n"));
    }
    request.push_str("\r\n");
    tcp.write_all(request.as_bytes()).await?;

    // Byte by byte, so that nothing behind the head is taken from the tunnel.
    let mut head = Vec::with_capacity(256);
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == CONNECT_HEAD {
            return Err(io::Error::other("its answer is too long"));
        }
        head.push(tcp.read_u8().await?);
    }
    let status = head
        .split(|&b| b == b' ')
        .nth(1)
        .and_then(|s| std::str::from_utf8(s).ok());
    match status.and_then(|s| s.trim().parse::<u16>().ok()) {
        Some(200..=299) => Ok(()),
        Some(status) => Err(io::Error::other(format!("it answered {status}"))),
        None => Err(io::Error::other("its answer is not HTTP")),
    }
}

async fn socks5_connect(
    tcp: &mut TcpStream,
    proxy: &EgressProxy,
    host: &str,
    port: u16,
) -> io::Result<()> {
    let method = if proxy.credentials.is_some() { 2 } else { 0 };
    tcp.write_all(&[5, 1, method]).await?;
    let mut chosen = [0; 2];
    tcp.read_exact(&mut chosen).await?;
    if chosen != [5, method] {
        return Err(io::Error::other(
            "it accepts no way to authenticate that is configured",
        ));
    }
    if let Some((user, password)) = &proxy.credentials {
        let mut login = vec![1];
        for part in [user.as_bytes(), password.expose().as_bytes()] {
            login.push(short(part)?);
            login.extend_from_slice(part);
        }
        tcp.write_all(&login).await?;
        let mut answer = [0; 2];
        tcp.read_exact(&mut answer).await?;
        if answer[1] != 0 {
            return Err(io::Error::other("it refused the user or the password"));
        }
    }
    let mut request = vec![5, 1, 0, 3, short(host.as_bytes())?];
    request.extend_from_slice(host.as_bytes());
    request.extend_from_slice(&port.to_be_bytes());
    tcp.write_all(&request).await?;
    let mut answer = [0; 4];
    tcp.read_exact(&mut answer).await?;
    if answer[1] != 0 {
        return Err(io::Error::other(format!("it answered error {}", answer[1])));
    }
    let bound = match answer[3] {
        1 => 4,
        4 => 16,
        _ => usize::from(tcp.read_u8().await?),
    };
    let mut rest = vec![0; bound + 2];
    tcp.read_exact(&mut rest).await?;
    Ok(())
}

fn short(part: &[u8]) -> io::Result<u8> {
    u8::try_from(part.len()).map_err(|_| io::Error::other("a name is longer than SOCKS 5 allows"))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// Tries addresses of the ports given: 0 never answers, 1 and 2 fail, others connect.
    async fn try_ports(ports: &[u16]) -> Option<Result<u16, u16>> {
        let addresses: Vec<SocketAddr> = ports
            .iter()
            .map(|&port| ([192, 0, 2, 1], port).into())
            .collect();
        first_to_answer(&addresses, |addr| async move {
            match addr.port() {
                0 => std::future::pending().await,
                port @ 1..=2 => Err(port),
                port => Ok(port),
            }
        })
        .await
    }

    #[tokio::test]
    async fn a_dead_address_delays_the_next_and_no_more() {
        let mut ports = [1; 100];
        ports[99] = 80;
        let start = Instant::now();
        assert_eq!(try_ports(&ports).await, Some(Ok(80)));
        assert!(start.elapsed() < 50 * HEAD_START, "failures are waited out");
        assert_eq!(try_ports(&[0, 80]).await, Some(Ok(80)));
        assert_eq!(try_ports(&[0, 0, 1, 80]).await, Some(Ok(80)));
        assert_eq!(try_ports(&[1, 2]).await, Some(Err(2)));
        assert_eq!(try_ports(&[]).await, None);
    }

    #[tokio::test]
    async fn an_address_is_judged_although_a_proxy_is_used() {
        let dialer = |host: &str| Dialer {
            host: host.into(),
            port: 80,
            proxy: None,
            policy: Policy {
                allow_private: true,
            },
            resolver: Arc::default(),
        };
        let proxy = EgressProxy {
            protocol: ProxyProtocol::Http,
            host: "127.0.0.1".into(),
            port: 1,
            credentials: None,
        };
        for (host, judged) in [
            ("169.254.169.254", true),
            ("::ffff:169.254.169.254", true),
            ("10.0.0.1", false),
            ("example.com", false),
        ] {
            let dialled = dialer(host).through(&proxy).await;
            let refused = matches!(dialled, Err(DialError::RefusedLiteral { .. }));
            assert_eq!(refused, judged, "{host}");
        }
    }

    #[test]
    fn addresses_are_judged_in_every_spelling() {
        let strict = Policy {
            allow_private: false,
        };
        let lenient = Policy {
            allow_private: true,
        };
        for (ip, when_strict, when_lenient) in [
            ("8.8.8.8", true, true),
            ("2606:4700::1", true, true),
            ("127.0.0.1", false, true),
            ("10.1.2.3", false, true),
            ("172.16.0.1", false, true),
            ("192.168.0.1", false, true),
            ("100.64.0.1", false, true),
            ("0.0.0.0", false, false),
            ("0.1.2.3", false, true),
            ("169.254.169.254", false, false),
            ("100.100.100.200", false, false),
            ("168.63.129.16", false, false),
            ("168.63.129.17", true, true),
            ("192.0.0.192", false, false),
            ("::ffff:168.63.129.16", false, false),
            ("224.0.0.1", false, false),
            ("255.255.255.255", false, false),
            ("::1", false, true),
            ("::", false, false),
            ("fe80::1", false, false),
            ("fc00::1", false, true),
            ("fd00:ec2::254", false, false),
            ("ff02::1", false, false),
            ("::ffff:169.254.169.254", false, false),
            ("::ffff:10.0.0.1", false, true),
            ("64:ff9b::a9fe:a9fe", false, false),
            ("64:ff9b::808:808", true, true),
            ("2002:a9fe:a9fe::1", false, false),
            ("2002:7f00:1::1", false, true),
        ] {
            let parsed: IpAddr = ip.parse().unwrap();
            assert_eq!(
                strict.refusal(parsed).is_none(),
                when_strict,
                "{ip}, strict"
            );
            assert_eq!(
                lenient.refusal(parsed).is_none(),
                when_lenient,
                "{ip}, private allowed"
            );
        }
    }
}
