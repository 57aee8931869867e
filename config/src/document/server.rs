//! The sections `server`, `admin` and `logging`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{AdminKey, SecretText, Size, Span, SpanOrOff};

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Server {
    /// A host name or an address.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// How clients reach the gateway; the default is made of `host` and `port`.
    pub(crate) public_url: Option<String>,
    /// 32 bytes, as they are, in hexadecimal digits or in Base64: what links, cookies and forms are
    /// sealed with. The default is a file that is made beside the database.
    pub(crate) secret_key: Option<SecretText>,
    /// Networks (CIDR) of the proxies in front whose `X-Forwarded-For` counts.
    pub(crate) trusted_proxies: Vec<String>,
    pub(crate) cors: Cors,
    pub(crate) tls: Option<Tls>,
    /// Worker threads; 0 = one for each core.
    #[schemars(range(max = 1024))]
    pub(crate) threads: u16,
    pub(crate) limits: Limits,
    pub(crate) timeouts: Timeouts,
    pub(crate) drain: Drain,
}

/// Which web pages of other origins may call models.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Cors {
    /// Their origins, such as `https://chat.example.com`; none unless named. Pages never reach the
    /// login or the management API.
    pub(crate) allowed_origins: Vec<String>,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".into(),
            port: 8080,
            public_url: None,
            secret_key: None,
            trusted_proxies: Vec::new(),
            cors: Cors::default(),
            tls: None,
            threads: 0,
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            drain: Drain::default(),
        }
    }
}

/// Certificates are read again when their files change. Paths are relative to this file.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Tls {
    /// PEM, the default certificate and its chain.
    pub(crate) cert: Option<String>,
    /// PEM, the key of `cert`.
    pub(crate) key: Option<String>,
    /// More certificates; the host name a client asks for picks one.
    pub(crate) certificates: Vec<Certificate>,
    /// PEM, the authorities of client certificates.
    pub(crate) client_ca: Option<String>,
    /// Whether clients show a certificate of their own.
    pub(crate) client_auth: ClientAuth,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Certificate {
    /// PEM, the certificate and its chain.
    pub(crate) cert: String,
    /// PEM, the key of `cert`.
    pub(crate) key: String,
}

#[derive(Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ClientAuth {
    #[default]
    Off,
    Optional,
    Required,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Limits {
    /// The largest request body.
    pub(crate) max_body: Size,
    /// The most memory that all request bodies together may hold.
    pub(crate) max_buffered: Size,
    /// How long a client may take to send its body.
    pub(crate) body_timeout: Span,
    /// How long a client may take to send its headers.
    pub(crate) header_timeout: Span,
    /// Client connections at once; 0 = no limit.
    #[schemars(range(max = 10_000_000))]
    pub(crate) max_connections: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_body: Size(32 << 20),
            max_buffered: Size(1 << 30),
            body_timeout: Span::seconds(30),
            header_timeout: Span::seconds(10),
            max_connections: 0,
        }
    }
}

/// Limits of one request, and of each attempt to have it answered.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Timeouts {
    pub(crate) connect: Span,
    /// For sending the request and waiting for the first byte of the answer, for each attempt.
    pub(crate) first_byte: Span,
    /// Between two parts of an answer.
    pub(crate) idle: Span,
    /// From the caller's head to the last byte of the answer, uploads and streams included.
    pub(crate) total: Span,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Span::seconds(5),
            first_byte: Span::seconds(120),
            idle: Span::seconds(60),
            total: Span::seconds(30 * 60),
        }
    }
}

/// How a process ends that is told to (SIGTERM).
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Drain {
    /// How long new connections are still served after readiness is off, so that whoever sends them here
    /// has time to notice; -1 = not at all.
    pub(crate) lame_duck: SpanOrOff,
    /// How long requests under way may go on after that; then they are cut.
    pub(crate) limit: Span,
}

impl Default for Drain {
    fn default() -> Self {
        Self {
            lame_duck: SpanOrOff::seconds(5),
            limit: Span::seconds(10 * 60),
        }
    }
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Admin {
    /// A host name or an address.
    pub(crate) host: String,
    /// The address of `server` = one listener serves both.
    pub(crate) port: u16,
    /// How operators' browsers reach it; the default is made of `host` and `port`, or is
    /// `server.public_url` where one listener serves both.
    pub(crate) public_url: Option<String>,
    /// Keys of the management API. Without any, and without `remote_management.secret_key`, it is
    /// not there.
    pub(crate) keys: Vec<AdminKey>,
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".into(),
            port: 8317,
            public_url: None,
            keys: Vec::new(),
        }
    }
}

/// What is logged, and where to.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Logging {
    pub(crate) level: Level,
    pub(crate) format: Format,
    /// A path relative to this file; the default is standard error.
    pub(crate) file: Option<String>,
}

#[derive(Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

#[derive(Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    #[default]
    Text,
    Json,
}
