use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use url::{Host, Url};

/// What is driven. Only this machine: load on somebody else's service is an
/// attack, and on one's own it wants a tool that was reviewed for it.
#[derive(Debug, Clone)]
pub struct Target {
    addr: SocketAddr,
    /// `host:port`, for the Host header.
    authority: String,
    /// Before `/v1/…`; no slash at its end.
    prefix: String,
}

#[derive(Debug, thiserror::Error, PartialEq)]
pub enum TargetError {
    #[error("target `{0}` is no URL")]
    NotAUrl(String),
    #[error("target `{0}` is not http://; the driver speaks clear-text HTTP/1.1")]
    NotHttp(String),
    #[error("target `{0}` is not on this machine; only loopback targets may be driven")]
    NotLoopback(String),
}

impl Target {
    pub fn parse(text: &str) -> Result<Self, TargetError> {
        let url = Url::parse(text).map_err(|_| TargetError::NotAUrl(text.to_owned()))?;
        if url.scheme() != "http" {
            return Err(TargetError::NotHttp(text.to_owned()));
        }
        let ip = loopback(&url).ok_or_else(|| TargetError::NotLoopback(text.to_owned()))?;
        let port = url.port().unwrap_or(80);
        Ok(Self {
            addr: SocketAddr::new(ip, port),
            authority: format!("{}:{port}", url.host_str().unwrap_or("localhost")),
            prefix: url.path().trim_end_matches('/').to_owned(),
        })
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    pub(crate) fn path(&self, call: &str) -> String {
        format!("{}{call}", self.prefix)
    }
}

/// `localhost` is taken at its word rather than looked up.
fn loopback(url: &Url) -> Option<IpAddr> {
    let ip = match url.host()? {
        Host::Domain("localhost") => IpAddr::V4(Ipv4Addr::LOCALHOST),
        Host::Domain(_) => return None,
        Host::Ipv4(ip) => IpAddr::V4(ip),
        Host::Ipv6(ip) => IpAddr::V6(ip),
    };
    ip.is_loopback().then_some(ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_a_target() {
        for url in [
            "http://127.0.0.1:8080",
            "http://localhost:8080/gw/",
            "http://[::1]:8080",
        ] {
            assert_eq!(Target::parse(url).unwrap().addr().port(), 8080);
        }
        let target = Target::parse("http://localhost:8080/gw/").unwrap();
        assert_eq!(target.path("/v1/x"), "/gw/v1/x");
    }

    #[test]
    fn nothing_else_is() {
        for url in [
            "http://10.0.0.1",
            "http://api.example.com",
            "http://localhost.example.com",
        ] {
            assert_eq!(
                Target::parse(url).unwrap_err(),
                TargetError::NotLoopback(url.to_owned())
            );
        }
        assert!(matches!(
            Target::parse("https://localhost"),
            Err(TargetError::NotHttp(_))
        ));
        assert!(matches!(
            Target::parse("8080"),
            Err(TargetError::NotAUrl(_))
        ));
    }
}
