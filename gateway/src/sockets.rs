//! The sockets that are listened on: those that were handed over by who started the process (systemd's
//! socket activation, `LISTEN_FDS`), or our own.
//!
//! A socket that somebody else holds outlives the process: while one gateway takes another's place,
//! connections wait in its queue, and nobody is refused.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};

use listenfd::ListenFd;
use thiserror::Error;
use tokio::net::{TcpListener, lookup_host};
use turnpike_config::plan::ListenAddr;

/// Why nobody can be listened to.
#[derive(Debug, Error)]
pub enum SocketError {
    #[error("cannot listen on {address}; stop what holds it, or change `{key}`")]
    Bind {
        address: String,
        key: &'static str,
        source: io::Error,
    },
    #[error("cannot use the sockets that were handed over (LISTEN_FDS)")]
    HandedOver(#[source] io::Error),
    #[error(
        "a socket was handed over for {}, where nobody listens: {}; write the same addresses to `server` \
         and `admin` as to the socket unit",
        .spare, .listeners
    )]
    Spare { spare: String, listeners: String },
}

/// A socket that is listened on.
pub struct Socket {
    pub listener: TcpListener,
    /// Somebody else holds it, too: who waits in its queue is not lost with this process.
    pub is_handed_over: bool,
}

/// Sockets that were handed over and have no listener yet.
#[derive(Default)]
pub struct Sockets {
    handed_over: Vec<StdListener>,
    listeners: Vec<String>,
}

impl Sockets {
    /// Takes over what the environment names. It has to be asked before there are threads: the
    /// environment is changed, so that no other process takes them for its own.
    pub fn handed_over() -> Result<Self, SocketError> {
        let mut found = ListenFd::from_env();
        let mut handed_over = Vec::new();
        for nth in 0..found.len() {
            let socket = found.take_tcp_listener(nth);
            handed_over.extend(socket.map_err(SocketError::HandedOver)?);
        }
        Ok(Self {
            handed_over,
            listeners: Vec::new(),
        })
    }

    /// The socket for this address, of which `key` is the configuration's name.
    pub async fn listen(
        &mut self,
        address: &ListenAddr,
        key: &'static str,
    ) -> Result<Socket, SocketError> {
        self.listeners.push(address.to_string());
        let failed = |source| SocketError::Bind {
            address: address.to_string(),
            key,
            source,
        };
        let host = (address.host.as_str(), address.port);
        if let Some(socket) = self.take(host).await.map_err(failed)? {
            socket.set_nonblocking(true).map_err(failed)?;
            return Ok(Socket {
                listener: TcpListener::from_std(socket).map_err(failed)?,
                is_handed_over: true,
            });
        }
        Ok(Socket {
            listener: TcpListener::bind(host).await.map_err(failed)?,
            is_handed_over: false,
        })
    }

    async fn take(&mut self, host: (&str, u16)) -> io::Result<Option<StdListener>> {
        if self.handed_over.is_empty() {
            return Ok(None);
        }
        let wanted: Vec<SocketAddr> = lookup_host(host).await?.collect();
        let is_it = |socket: &StdListener| {
            let at = socket.local_addr();
            at.is_ok_and(|at| wanted.iter().any(|wanted| is_same(*wanted, at)))
        };
        let at = self.handed_over.iter().position(is_it);
        Ok(at.map(|at| self.handed_over.swap_remove(at)))
    }

    /// A socket without a listener is a mistake: whoever connected there would wait for ever.
    pub fn none_left(&self) -> Result<(), SocketError> {
        let Some(spare) = self.handed_over.first() else {
            return Ok(());
        };
        let spare = spare.local_addr().map_err(SocketError::HandedOver)?;
        Err(SocketError::Spare {
            spare: spare.to_string(),
            listeners: self.listeners.join(", "),
        })
    }
}

/// Whether a socket is for an address. `ListenStream=8080` is systemd's way to write every address.
fn is_same(wanted: SocketAddr, found: SocketAddr) -> bool {
    let every = wanted.ip().is_unspecified() && found.ip().is_unspecified();
    wanted.port() == found.port()
        && (every || wanted.ip().to_canonical() == found.ip().to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: SocketAddr) -> ListenAddr {
        ListenAddr {
            host: address.ip().to_string(),
            port: address.port(),
        }
    }

    #[tokio::test]
    async fn each_listener_gets_the_socket_of_its_address() {
        let open = || StdListener::bind("127.0.0.1:0").unwrap();
        let (one, other, third) = (open(), open(), open());
        let [here, there, spare] = [&one, &other, &third].map(|open| open.local_addr().unwrap());
        let mut sockets = Sockets {
            handed_over: vec![one, other, third],
            listeners: Vec::new(),
        };
        for address in [there, here] {
            let socket = sockets.listen(&at(address), "server.port").await.unwrap();
            assert!(socket.is_handed_over);
            assert_eq!(socket.listener.local_addr().unwrap(), address);
        }
        let any = at("127.0.0.1:0".parse().unwrap());
        let own = sockets.listen(&any, "admin.port").await.unwrap();
        assert!(!own.is_handed_over);
        let own = own.listener.local_addr().unwrap();
        assert_ne!(own, spare, "a socket of ours where none was handed over");
        let left = sockets.none_left().unwrap_err().to_string();
        assert!(left.contains(&spare.to_string()), "{left}");
    }

    #[test]
    fn every_address_is_every_address() {
        let same = |one: &str, other: &str| is_same(one.parse().unwrap(), other.parse().unwrap());
        assert!(same("0.0.0.0:8080", "[::]:8080"));
        assert!(same("127.0.0.1:8080", "[::ffff:127.0.0.1]:8080"));
        assert!(!same("0.0.0.0:8080", "[::]:8081"));
        assert!(!same("127.0.0.1:8080", "0.0.0.0:8080"));
    }
}
