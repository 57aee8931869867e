//! Who may manage the gateway over its API.

use turnpike_api::Secret;
use url::Url;

/// The management API, and the operator's pages. Without keys the API is not there.
#[derive(Clone)]
pub struct ManagementPlan {
    pub keys: Vec<AdminKeyPlan>,
    /// Whether other machines may use it.
    pub allow_remote: bool,
    /// How operators' browsers reach the admin listener.
    pub public_url: Url,
}

/// A key of the management API.
#[derive(Clone)]
pub struct AdminKeyPlan {
    pub name: String,
    pub key: Secret,
    /// Never empty.
    pub scopes: Vec<Scope>,
    /// The tenant that it is for; `None` = the whole gateway. There is such a one.
    pub tenant: Option<String>,
}

/// What a key may do. To write does not include to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything, what later releases add included.
    All,
    CredentialsRead,
    CredentialsWrite,
    TokensRead,
    TokensWrite,
    SessionsRead,
    SessionsWrite,
    UsageRead,
    ConfigRead,
    ConfigWrite,
    LogsRead,
    LogsWrite,
}

impl Scope {
    pub const ALL: [Self; 12] = [
        Self::All,
        Self::CredentialsRead,
        Self::CredentialsWrite,
        Self::TokensRead,
        Self::TokensWrite,
        Self::SessionsRead,
        Self::SessionsWrite,
        Self::UsageRead,
        Self::ConfigRead,
        Self::ConfigWrite,
        Self::LogsRead,
        Self::LogsWrite,
    ];

    /// As written in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::All => "admin:*",
            Self::CredentialsRead => "credentials:read",
            Self::CredentialsWrite => "credentials:write",
            Self::TokensRead => "tokens:read",
            Self::TokensWrite => "tokens:write",
            Self::SessionsRead => "sessions:read",
            Self::SessionsWrite => "sessions:write",
            Self::UsageRead => "usage:read",
            Self::ConfigRead => "config:read",
            Self::ConfigWrite => "config:write",
            Self::LogsRead => "logs:read",
            Self::LogsWrite => "logs:write",
        }
    }
}
