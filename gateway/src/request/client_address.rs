//! Where a call comes from.

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue};
use ipnet::IpNet;

/// The caller's address: the peer's, or what trusted proxies in front say of it.
pub fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    // An IPv4 peer of a socket for both is mapped into IPv6.
    let peer = peer.to_canonical();
    let is_trusted = |ip: IpAddr| trusted.iter().any(|network| network.contains(&ip));
    if trusted.is_empty() || !is_trusted(peer) {
        return peer;
    }
    // From the right: every proxy appends the peer it saw, and only what trusted ones appended
    // can be believed.
    let mut client = peer;
    let lines: Vec<&[u8]> = headers
        .get_all("x-forwarded-for")
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    let hops = lines.iter().rev();
    for hop in hops.flat_map(|line| line.rsplit(|byte| *byte == b',')) {
        // Each by itself: what the caller wrote before it may be no text at all.
        let Some(ip) = address(hop) else {
            return client;
        };
        let ip = ip.to_canonical();
        client = ip;
        if !is_trusted(ip) {
            return client;
        }
    }
    client
}

fn address(hop: &[u8]) -> Option<IpAddr> {
    str::from_utf8(hop).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forwarded_addresses_count_only_from_trusted_proxies() {
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap()];
        let said = |peer: &str, forwarded: &'static [u8]| {
            let mut headers = HeaderMap::new();
            let forwarded = HeaderValue::from_bytes(forwarded).unwrap();
            headers.insert("x-forwarded-for", forwarded);
            client_address(peer.parse().unwrap(), &headers, &trusted).to_string()
        };
        let client = |peer: &str, forwarded: &'static str| said(peer, forwarded.as_bytes());
        assert_eq!(client("203.0.113.9", "198.51.100.1"), "203.0.113.9");
        assert_eq!(client("10.0.0.1", "198.51.100.1"), "198.51.100.1");
        assert_eq!(
            client("10.0.0.1", "6.6.6.6, 198.51.100.1, 10.0.0.2"),
            "198.51.100.1"
        );
        assert_eq!(client("10.0.0.1", "garbage"), "10.0.0.1");
        assert_eq!(said("10.0.0.1", b"\xff, 198.51.100.1"), "198.51.100.1");
        assert_eq!(client("::ffff:10.0.0.1", "::ffff:6.6.6.6"), "6.6.6.6");
        assert_eq!(client("10.0.0.1", "10.0.0.3, 10.0.0.2"), "10.0.0.3");
    }
}
