//! Counters that a gateway exposes.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use crate::drive::Target;

/// All that an admin listener exposes, behind the answer's head.
pub(crate) fn exposition(admin: &Target) -> io::Result<String> {
    let mut socket = TcpStream::connect(admin.addr())?;
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    let (path, host) = (admin.path("/metrics"), admin.authority());
    // HTTP/1.0: the answer is not cut into chunks.
    write!(socket, "GET {path} HTTP/1.0\r\nhost: {host}\r\n\r\n")?;
    let mut text = String::new();
    socket.read_to_string(&mut text)?;
    Ok(text)
}

/// How many computations a gateway had made to know its callers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Computed {
    /// Hashes of agent tokens.
    pub hashes: u64,
    /// Signatures of signed tokens.
    pub signatures: u64,
}

impl Computed {
    /// As its admin listener says.
    pub fn read(admin: &Target) -> io::Result<Self> {
        Self::parse(&exposition(admin)?)
            .ok_or_else(|| io::Error::other("it does not count computations"))
    }

    fn parse(text: &str) -> Option<Self> {
        let count = |kind: &str| {
            let series = format!("turnpike_identity_computations_total{{kind=\"{kind}\"}} ");
            let mut values = text.lines().filter_map(|line| line.strip_prefix(&series));
            values.next()?.trim().parse().ok()
        };
        Some(Self {
            hashes: count("agent_token")?,
            signatures: count("jwt")?,
        })
    }

    /// What came since.
    pub fn since(self, before: Self) -> Self {
        Self {
            hashes: self.hashes.saturating_sub(before.hashes),
            signatures: self.signatures.saturating_sub(before.signatures),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_counters_are_read() {
        let text = "HTTP/1.1 200 OK\r\n\r\n# TYPE turnpike_identity_computations_total counter\n\
            turnpike_identity_computations_total{kind=\"agent_token\"} 7\n\
            turnpike_identity_computations_total{kind=\"jwt\"} 3\n";
        let read = Computed::parse(text).unwrap();
        assert_eq!((read.hashes, read.signatures), (7, 3));
        assert_eq!(Computed::parse("turnpike_requests_total 1"), None);
    }
}
