use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// What a [`FakeProvider`](crate::FakeProvider) speaks on its port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// Clear-text HTTP/1.1.
    #[default]
    Http1,
    /// Clear text; HTTP/2 by prior knowledge, HTTP/1.1 on the same port.
    H2c,
    /// TLS offering `h2` and `http/1.1`.
    Tls,
    /// TLS offering `http/1.1` only.
    TlsH1,
    /// TLS offering `h2` only.
    TlsH2,
}

impl Protocol {
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Tls | Self::TlsH1 | Self::TlsH2)
    }
}

/// How a [`FakeProvider`](crate::FakeProvider) is started.
#[derive(Debug, Clone)]
pub struct Options {
    pub protocol: Protocol,
    pub host: IpAddr,
    /// 0 takes a free one.
    pub port: u16,
    /// Keys that are accepted; any other is answered 401. `None` accepts all.
    pub keys: Option<Vec<String>>,
    /// Whether calls are kept for [`calls`](crate::FakeProvider::calls). Off
    /// for load: usage is still counted, but there is no call to wait for.
    pub record: bool,
    /// Keep request bodies above 64 KiB too.
    pub keep_bodies: bool,
    /// Content events in a stream, and so output tokens of any answer.
    pub events: usize,
    /// Pause before each event of a stream.
    pub gap: Option<Duration>,
}

impl Options {
    pub fn new(protocol: Protocol) -> Self {
        Self {
            protocol,
            ..Self::default()
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            protocol: Protocol::Http1,
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 0,
            keys: None,
            record: true,
            keep_bodies: false,
            events: 6,
            gap: None,
        }
    }
}

impl From<Protocol> for Options {
    fn from(protocol: Protocol) -> Self {
        Self::new(protocol)
    }
}
