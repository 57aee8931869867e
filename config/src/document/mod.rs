//! The document: the file as written, one struct a section, unknown keys denied.
//!
//! These types are the one list of keys. The JSON schema is derived from them, and `shape` holds
//! the written tree against that schema; a key added here is known everywhere. The comment of a
//! field is its description in the schema.

mod access;
mod amount;
mod audit;
mod auth;
mod identity;
mod keys;
mod limits;
mod lists;
mod management;
mod prices;
mod provider;
mod server;
mod sso;
mod state;
mod telemetry;
mod tenants;
mod upstream;
mod values;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(crate) use access::{Permission, Role, RoleBinding};
pub(crate) use amount::{Amount, DECIMAL, Unfit};
pub(crate) use audit::{
    Audit, AuditFormat, AuditSink, AuditSinkKind, AuditStream, AuditTls, WhenSpoolFull,
};
pub(crate) use auth::{Auth, Cooldown, Encryption, Quota};
pub(crate) use identity::{AgentTokens, Jwt, JwtIssuer};
pub(crate) use keys::{ClientKeyEntry, Unauthenticated};
pub(crate) use limits::{
    Caps, LimitEntry, LimitMap, LimitMeasure, LimitScope, LimitWindow, SpentStatus, WhenUnavailable,
};
pub(crate) use lists::{CompatibleEntry, KeyEntry};
pub(crate) use management::{AdminKey, AdminScope, RemoteManagement};
pub(crate) use prices::{PriceEntry, PriceFile, Prices, UnknownModel};
pub(crate) use provider::{CredentialQuota, ModelEntry, Provider, Weight};
pub(crate) use server::{Admin, ClientAuth, Format, Level, Limits, Logging, Server, Tls};
pub(crate) use sso::{Authorization, LoginMode, Preset, SilentRenewal, Sso, SsoKind, SsoProvider};
pub(crate) use state::{Backend, Redis, RedisMode, RedisTls, Retention, State};
pub(crate) use telemetry::Telemetry;
pub(crate) use tenants::{Tenant, TenantAuthorization};
pub(crate) use upstream::{Egress, InjectUsage, Metering, QuotaExceeded, Routing, Strategy};
pub(crate) use values::{
    ProxyText, ReferenceText, SecretOrNone, SecretText, Size, Span, SpanOrOff, TEXT_FORMATS,
    may_be_empty, may_be_reference,
};

/// The configuration of Turnpike. Every key is optional unless marked required, and every key may
/// be written with `-` for `_`.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "Turnpike configuration")]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Document {
    /// The listener for clients.
    pub(crate) server: Server,
    /// The listener for management, health and metrics.
    pub(crate) admin: Admin,
    pub(crate) remote_management: RemoteManagement,
    pub(crate) logging: Logging,
    pub(crate) state: State,
    /// Static client keys. Without any, and without `jwt`, `sso` and agent tokens, everyone is let in, on a
    /// loopback address only.
    pub(crate) api_keys: Vec<ClientKeyEntry>,
    /// Long-lived tokens of agents and devices (`turnpike token create`).
    pub(crate) agent_tokens: AgentTokens,
    pub(crate) jwt: Jwt,
    /// Single sign-on: people log in through their own identity provider.
    pub(crate) sso: Sso,
    /// Who of those that logged in may have agent tokens; in the mode `enterprise` also who may call with
    /// a signed token.
    pub(crate) authorization: Authorization,
    /// What a caller without a valid credential gets: `sandbox`, an answer in which the model tells
    /// where to sign in, or `unauthorized`, an error. The default is `sandbox` with single sign-on,
    /// and `unauthorized` without.
    pub(crate) unauthenticated_response: Option<Unauthenticated>,
    /// Named sets of what may be done. Without any, who is known may use everything; with one, nothing
    /// but what a role grants.
    pub(crate) roles: BTreeMap<String, Role>,
    /// Who has which role.
    pub(crate) role_bindings: Vec<RoleBinding>,
    /// Limits beside those of roles and keys: on any level, over any window. A call must be within all.
    pub(crate) limits: Vec<LimitEntry>,
    /// The status of a refusal when the budget of an hour or a longer time is spent. Agents try 429
    /// again and again.
    pub(crate) spent_status: SpentStatus,
    pub(crate) prices: Prices,
    /// Groups of callers who have nothing to do with each other, by name.
    pub(crate) tenants: BTreeMap<String, Tenant>,
    /// Upstream providers and their credentials, by name.
    pub(crate) providers: BTreeMap<String, Provider>,
    /// Credentials of the provider `openai`.
    pub(crate) openai_api_key: Vec<KeyEntry>,
    /// Credentials of the provider `claude`.
    pub(crate) claude_api_key: Vec<KeyEntry>,
    /// Credentials of the provider `gemini`.
    pub(crate) gemini_api_key: Vec<KeyEntry>,
    /// Credentials of the provider `codex`, which speaks as `openai` does.
    pub(crate) codex_api_key: Vec<KeyEntry>,
    /// Credentials of the provider `vertex`.
    pub(crate) vertex_api_key: Vec<KeyEntry>,
    /// Providers that speak as OpenAI does, under names and addresses of their own.
    pub(crate) openai_compatibility: Vec<CompatibleEntry>,
    /// Serve the models of a credential with a prefix only as `prefix/model`.
    pub(crate) force_model_prefix: bool,
    pub(crate) auth: Auth,
    /// Another name of `auth.dir`.
    pub(crate) auth_dir: Option<String>,
    pub(crate) routing: Routing,
    pub(crate) quota_exceeded: QuotaExceeded,
    pub(crate) max_retry_credentials: RetryCredentials,
    pub(crate) max_retry_interval: RetryInterval,
    pub(crate) metering: Metering,
    pub(crate) audit: Audit,
    pub(crate) telemetry: Telemetry,
    /// How calls to upstreams leave this machine.
    pub(crate) egress: Egress,
}

/// How many credentials one request may try.
#[derive(Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub(crate) struct RetryCredentials(#[schemars(range(min = 1, max = 1000))] pub(crate) u32);

impl Default for RetryCredentials {
    fn default() -> Self {
        Self(3)
    }
}

/// Seconds that a request may wait, once, when all its credentials are cooling and the soonest is back
/// by then; 0 = never wait.
#[derive(Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub(crate) struct RetryInterval(#[schemars(range(max = 86_400))] pub(crate) u32);

impl Default for RetryInterval {
    fn default() -> Self {
        Self(30)
    }
}
