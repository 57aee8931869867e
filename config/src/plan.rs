//! The plan: configuration after every default, reference and check. Immutable and typed, so that
//! nothing behind it asks again whether a value makes sense.
//!
//! Types that hold a [`Secret`] have no `Debug`, because a secret has none.

mod access;
mod audit;
mod auth;
mod identity;
mod limits;
mod management;
mod secret_key;
mod sso;
mod telemetry;
mod tenants;

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, StatusCode};
use ipnet::IpNet;
use turnpike_api::{Limit, Secret};
use url::Url;

pub use access::{RoleBindingPlan, RolePlan};
pub use audit::{
    AuditFormatPlan, AuditPlan, AuditReceiverPlan, AuditSinkPlan, PromptsPlan, UsageStreamPlan,
};
pub use auth::{
    AuthPlan, CooldownPlan, EncryptionPlan, QuotaExceededPlan, QuotaPlan, RedisPlan,
    RedisServersPlan, RetentionPlan, StatePlan,
};
pub use identity::{AgentTokensPlan, Argon2Plan, ClaimNamesPlan, JwtIssuerPlan};
pub use limits::{PricePlan, PricesPlan, UnknownModel};
pub use management::{AdminKeyPlan, ManagementPlan, Scope};
pub use secret_key::SecretKey;
pub use sso::{
    AuthorizationPlan, LoginModePlan, LoginRatePlan, LoginWayPlan, OfflinePlan, RemotePlan,
    SsoClaimsPlan, SsoPlan, SsoProviderPlan,
};
pub use telemetry::{SampleRatio, TelemetryPlan};
pub use tenants::{TenantAccessPlan, TenantPlan, TenantSsoPlan};

/// Everything the gateway was told.
#[derive(Clone)]
pub struct Plan {
    pub server: ServerPlan,
    /// Management, health and metrics; when equal to `server.listen` one listener serves both.
    pub admin: ListenAddr,
    pub management: ManagementPlan,
    pub logging: LoggingPlan,
    pub client_keys: Vec<ClientKeyPlan>,
    pub agent_tokens: AgentTokensPlan,
    /// Issuers of signed tokens; each once.
    pub jwt_issuers: Vec<JwtIssuerPlan>,
    /// How people log in; `None` = they do not.
    pub sso: Option<SsoPlan>,
    /// Who is asked about callers with signed tokens; `None` = nobody.
    pub remote: Option<RemotePlan>,
    /// Empty = whoever is known may use everything.
    pub roles: Vec<RolePlan>,
    pub role_bindings: Vec<RoleBindingPlan>,
    /// Those beside roles, keys and credentials; each name once.
    pub limits: Vec<Arc<Limit>>,
    /// Of a refusal when a budget is spent: 403, 402 or 429.
    pub spent_status: StatusCode,
    pub prices: PricesPlan,
    /// In order of names.
    pub tenants: Vec<TenantPlan>,
    pub providers: Vec<ProviderPlan>,
    /// Names of providers that are switched off; a credential file does not bring one back.
    pub disabled_providers: Vec<String>,
    /// Serve a prefixed credential's models only under their prefixed names.
    pub force_model_prefix: bool,
    /// The strategy of every provider that names none.
    pub selection: Selection,
    /// How many credentials one request may try.
    pub max_retry_credentials: u32,
    /// How long one request may wait for a credential to come back; zero = not at all.
    pub max_retry_interval: Duration,
    pub quota_exceeded: QuotaExceededPlan,
    /// Whether a stream that does not ask for its usage may be made to.
    pub inject_usage: bool,
    pub auth: AuthPlan,
    pub state: StatePlan,
    /// Headers in which callers say who they are, unchecked; each once. No provider is told them.
    pub claimed_headers: Vec<HeaderName>,
    pub prompts: PromptsPlan,
    /// `None` = nothing is on record.
    pub audit: Option<AuditPlan>,
    /// `None` = no spans are sent anywhere.
    pub telemetry: Option<TelemetryPlan>,
    pub egress: EgressPlan,
    /// What is in effect as JSON, every secret blotted out.
    pub effective: Arc<str>,
    /// Things that work but are probably not meant, one sentence each.
    pub warnings: Vec<String>,
    /// Every file the plan was made from; a change to one of them is a reason to reload.
    pub sources: Vec<PathBuf>,
}

/// Where a listener binds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenAddr {
    pub host: String,
    pub port: u16,
}

impl ListenAddr {
    /// Whether only this machine can reach it.
    pub fn is_loopback(&self) -> bool {
        is_loopback_host(&self.host)
    }
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Whether `host` names this machine only: `localhost` or a loopback address, bracketed or bare.
pub fn is_loopback_host(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.eq_ignore_ascii_case("localhost")
        || bare
            .parse::<IpAddr>()
            .is_ok_and(|ip| ip.to_canonical().is_loopback())
}

#[derive(Clone)]
pub struct ServerPlan {
    pub listen: ListenAddr,
    /// How clients reach the gateway; `http://host:port` unless told.
    pub public_url: Url,
    /// What links, cookies and forms are sealed with; `None` = a key kept beside the database.
    pub secret_key: Option<SecretKey>,
    /// Peers whose `X-Forwarded-For` counts.
    pub trusted_proxies: Vec<IpNet>,
    /// Origins of web pages that may call models, as browsers write them; each once.
    pub allowed_origins: Vec<String>,
    pub tls: Option<TlsPlan>,
    /// Worker threads; never 0.
    pub threads: usize,
    pub limits: LimitsPlan,
    pub timeouts: TimeoutsPlan,
    pub drain: DrainPlan,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsPlan {
    /// Never empty; the first one answers a client that names no host, or an unknown one.
    pub certificates: Vec<CertificatePlan>,
    pub client_ca: Option<PathBuf>,
    pub client_auth: ClientAuth,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificatePlan {
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// Whether clients show a certificate of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    Off,
    Optional,
    Required,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitsPlan {
    /// Bytes of one request body.
    pub max_body: u64,
    /// Bytes of all request bodies held at once.
    pub max_buffered: u64,
    pub body_timeout: Duration,
    pub header_timeout: Duration,
    /// 0 = no limit.
    pub max_connections: usize,
}

/// Limits of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeoutsPlan {
    pub connect: Duration,
    /// Of each attempt: sending the request and waiting for the first byte of the answer.
    pub first_byte: Duration,
    pub idle: Duration,
    /// From the caller's head to the last byte of the answer, the upload included.
    pub total: Duration,
}

/// How a process ends that is told to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainPlan {
    /// New connections are still served for so long; zero = not at all.
    pub lame_duck: Duration,
    /// Requests under way may go on for so long after that.
    pub limit: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggingPlan {
    pub level: LogLevel,
    pub format: LogFormat,
    /// `None` = standard error.
    pub file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// A static key that clients present.
#[derive(Clone)]
pub struct ClientKeyPlan {
    pub name: String,
    pub key: Secret,
    /// `None` = any model.
    pub models: Option<Vec<String>>,
    /// Whose it is; `None` = that of the host it is used at, or nobody's. There is such a one.
    pub tenant: Option<String>,
    /// There are such.
    pub roles: Vec<String>,
    /// On the level of tokens, for this key alone: `key:NAME:requests_per_minute`.
    pub limits: Vec<Arc<Limit>>,
}

#[derive(Clone)]
pub struct ProviderPlan {
    pub name: String,
    /// One of the kinds given to `load`.
    pub kind: String,
    /// `None` = [`Plan::selection`].
    pub selection: Option<Selection>,
    /// What a credential file of this provider inherits. Those below have theirs already.
    pub settings: SettingsPlan,
    pub credentials: Vec<CredentialPlan>,
}

/// What the credentials of a provider have in common.
#[derive(Clone, Default)]
pub struct SettingsPlan {
    /// `None` = the kind's own; without a trailing slash in its path.
    pub base_url: Option<Url>,
    pub prefix: Option<String>,
    /// Empty = the kind's shipped patterns. One list for all that inherit it: there may be thousands.
    pub models: Arc<[ModelPlan]>,
    pub excluded_models: Arc<[String]>,
    pub headers: Vec<(String, String)>,
    pub proxy: ProxyChoice,
}

#[derive(Clone)]
pub struct CredentialPlan {
    /// `provider/label`, or `provider/` and a digest of the secret: the same on every replica and
    /// in any order of the file.
    pub id: String,
    pub secret: Secret,
    pub label: Option<String>,
    /// Lower first.
    pub priority: i64,
    /// 1 to 1000.
    pub weight: u32,
    pub disabled: bool,
    /// Tokens of one period, never 0; `None` = any number.
    pub quota_limit: Option<u64>,
    /// On the level of credentials, for this one alone: `cap:requests_per_minute`.
    pub caps: Vec<Arc<Limit>>,
    /// A tag that a tenant names; `None` = it serves whoever names none.
    pub pool: Option<String>,
    /// `None` = the kind's own; without a trailing slash in its path.
    pub base_url: Option<Url>,
    pub prefix: Option<String>,
    /// Empty = the kind's shipped patterns. One list for all that inherit it: there may be thousands.
    pub models: Arc<[ModelPlan]>,
    pub excluded_models: Arc<[String]>,
    pub headers: Vec<(String, String)>,
    pub proxy: ProxyChoice,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelPlan {
    /// What the upstream calls it.
    pub name: String,
    /// What clients call it; `None` = the same.
    pub alias: Option<String>,
    /// The model that it stands in for when that one is out of quota, as clients call it.
    pub preview_of: Option<String>,
    /// The models to try in its place, in this order, as clients call them.
    pub fallback: Vec<String>,
}

impl ModelPlan {
    /// What clients call it.
    pub fn shown(&self) -> &str {
        self.alias.as_deref().unwrap_or(&self.name)
    }
}

#[derive(Clone, Default)]
pub enum ProxyChoice {
    /// As [`EgressPlan`] says.
    #[default]
    Inherit,
    /// None, whatever [`EgressPlan`] says.
    Direct,
    Url(ProxyUrl),
}

#[derive(Clone)]
pub struct ProxyUrl {
    pub scheme: ProxyScheme,
    /// Without brackets, also when it is an IPv6 address.
    pub host: String,
    pub port: u16,
    /// User and password.
    pub credentials: Option<(String, Secret)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyScheme {
    Http,
    Socks5,
}

/// How calls leave.
#[derive(Clone)]
pub struct EgressPlan {
    /// For `http` upstreams.
    pub http_proxy: Option<ProxyUrl>,
    /// For `https` upstreams.
    pub https_proxy: Option<ProxyUrl>,
    /// Hosts, domains and networks reached without a proxy.
    pub no_proxy: Vec<String>,
    /// Trusted beside the built-in roots.
    pub ca_file: Option<PathBuf>,
    pub allow_private: bool,
    /// Empty = any host.
    pub allowed_hosts: Vec<String>,
}

/// How a credential is chosen among those of one priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection {
    RoundRobin,
    FillFirst,
    Priority,
    QuotaAware,
    Weighted,
}

impl Selection {
    /// As written in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RoundRobin => "round_robin",
            Self::FillFirst => "fill_first",
            Self::Priority => "priority",
            Self::QuotaAware => "quota_aware",
            Self::Weighted => "weighted",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_a_client_would_dial_them() {
        let at = |host: &str| ListenAddr {
            host: host.into(),
            port: 80,
        };
        assert_eq!(at("::1").to_string(), "[::1]:80");
        assert_eq!(at("127.0.0.1").to_string(), "127.0.0.1:80");
        assert!(at("127.9.9.9").is_loopback());
        assert!(at("LocalHost").is_loopback());
        assert!(at("::ffff:127.0.0.1").is_loopback());
        assert!(!at("0.0.0.0").is_loopback());
        assert!(!at("localhost.example.com").is_loopback());
    }
}
