//! What replicas share, in a Redis: records, claims, news, and what is drawn of limits.
//!
//! A thread of its own keeps one connection ([`link`]); everybody else sees futures of no runtime,
//! each of which ends by its deadline. What must happen at once is one Lua script ([`script`]).
//! The names of what is kept, and their version, are in [`keys`].

mod address;
mod connection;
mod draws;
mod failure;
mod greeting;
mod keys;
mod link;
mod news;
mod records;
mod script;
mod sentinel;
#[cfg(test)]
mod tests;
pub(crate) mod usage;

use std::time::Duration;

use thiserror::Error;
use turnpike_api::{Bulletin, Directory, Draw, Drawn, Expected, News, Record, Secret, Stored};

use greeting::Greeting;
use keys::Keys;
use link::Link;

/// Where the Redis is, and how long one waits for it.
#[derive(Clone)]
pub struct Options {
    /// `redis://host:port/database`, `rediss://` for TLS, or `unix:///path`. No password.
    pub url: String,
    /// Which servers there are; where it is not one alone, the host in `url` is not asked.
    pub servers: Servers,
    /// The ACL user; Redis' own `default` when it is empty.
    pub username: String,
    /// Its password, if it has one.
    pub password: Option<Secret>,
    /// For `rediss://`: whose certificates are believed, as PEM, instead of the system's.
    pub authorities: Option<Vec<u8>>,
    /// For `rediss://`: what one shows of oneself.
    pub client: Option<ClientCertificate>,
    /// What the name of every key begins with.
    pub key_prefix: String,
    /// How long any one call may take, whatever happens.
    pub deadline: Duration,
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
}

/// Which servers there are.
#[derive(Clone)]
pub enum Servers {
    /// That of the URL.
    One,
    /// One that its sentinels know. They are reached as it is, over TLS where it is, and have no login.
    Watched {
        /// The sentinels, each as `host:port`.
        sentinels: Vec<String>,
        /// What they call it.
        master: String,
    },
    /// A cluster, some of whose nodes are these, each as `host:port`.
    Cluster(Vec<String>),
}

/// A certificate of one's own, and its key, as PEM.
#[derive(Clone)]
pub struct ClientCertificate {
    pub certificate: Vec<u8>,
    pub key: Secret,
}

impl Options {
    /// What the options are when only the address is told.
    pub fn at(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            servers: Servers::One,
            username: String::new(),
            password: None,
            authorities: None,
            client: None,
            key_prefix: "turnpike".to_owned(),
            deadline: Duration::from_millis(50),
            connect_timeout: Duration::from_millis(200),
        }
    }
}

/// Why a store could not be set up. A Redis that is not there is no reason.
#[derive(Debug, Error)]
pub enum SetupError {
    /// The address cannot be understood. It is not told: a password may be in it.
    #[error(
        "the address of the Redis is not understood; write redis://host:port/database, rediss:// for TLS"
    )]
    Url,
    /// A password in the address gets into files and listings.
    #[error("the address of the Redis has a login in it; give the user and the password apart")]
    Login,
    /// No host with a port, or a socket of this machine.
    #[error(
        "the nodes are not understood; write each as host:port, and a URL of redis:// or rediss://"
    )]
    Nodes,
    /// No certificates.
    #[error("the certificates of the Redis' authorities are not understood; they must be PEM")]
    Authorities,
    /// No certificate, or no key.
    #[error("the certificate and key for the Redis are not understood; they must be PEM")]
    Client,
    /// A brace would decide over the slot of a cluster.
    #[error("the prefix of the keys may have letters, digits and any of - _ . :")]
    Prefix,
    /// No thread.
    #[error("the thread for the Redis cannot be started: {0}")]
    Thread(std::io::Error),
}

/// A store that many processes share.
pub struct Redis {
    link: Link,
    keys: Keys,
    fleet: draws::Fleet,
}

impl Redis {
    /// Begins to connect and does not wait for it: the Redis may come later.
    pub fn open(options: &Options) -> Result<Self, SetupError> {
        let keys = Keys::new(&options.key_prefix).ok_or(SetupError::Prefix)?;
        let link = Link::open(options, Greeting::new(&keys))?;
        let fleet = draws::Fleet::default();
        Ok(Self { link, keys, fleet })
    }

    /// As [`Ledger::draw`](turnpike_api::Ledger::draw).
    pub fn draw<'a>(
        &'a self,
        replica: &'a str,
        lease: Duration,
        draws: &'a [Draw],
    ) -> Stored<'a, Drawn> {
        let round = (replica, lease, draws);
        Box::pin(draws::draw(&self.link, &self.keys, &self.fleet, round))
    }

    /// What replicas told each other of usage.
    pub(crate) fn usage(&self) -> usage::Told<'_> {
        usage::Told {
            link: &self.link,
            keys: &self.keys,
        }
    }

    /// Waits until it is known whether the Redis is there, for as long as a connection may take.
    pub async fn settled(&self) {
        self.link.settled().await;
    }
}

impl Directory for Redis {
    fn get<'a>(&'a self, kind: &'static str, key: &'a str) -> Stored<'a, Option<Record>> {
        Box::pin(records::get(&self.link, &self.keys, kind, key))
    }

    fn list(&self, kind: &'static str) -> Stored<'_, Vec<(String, Record)>> {
        Box::pin(records::list(&self.link, &self.keys, kind))
    }

    fn put<'a>(
        &'a self,
        kind: &'static str,
        key: &'a str,
        value: &'a [u8],
        ttl: Option<Duration>,
        expected: Expected,
    ) -> Stored<'a, Option<u64>> {
        let writing = records::Writing {
            kind,
            key,
            value,
            ttl,
            expected,
        };
        Box::pin(records::put(&self.link, &self.keys, writing))
    }

    fn remove<'a>(&'a self, kind: &'static str, key: &'a str) -> Stored<'a, bool> {
        Box::pin(records::remove(&self.link, &self.keys, kind, key))
    }

    fn claim<'a>(&'a self, name: &'a str, holder: &'a str, ttl: Duration) -> Stored<'a, bool> {
        Box::pin(records::claim(&self.link, &self.keys, name, holder, ttl))
    }

    fn release<'a>(&'a self, name: &'a str, holder: &'a str) -> Stored<'a, ()> {
        Box::pin(records::release(&self.link, &self.keys, name, holder))
    }
}

impl Bulletin for Redis {
    fn post<'a>(&'a self, topic: &'static str, body: &'a [u8]) -> Stored<'a, u64> {
        Box::pin(news::post(&self.link, &self.keys, topic, body))
    }

    fn since(&self, after: u64) -> Stored<'_, News> {
        Box::pin(news::since(&self.link, &self.keys, after))
    }

    fn latest(&self) -> Stored<'_, u64> {
        Box::pin(news::latest(&self.link, &self.keys))
    }
}
