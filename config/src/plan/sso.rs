//! How people log in, and who of them may.

use std::time::Duration;

use turnpike_api::Secret;
use url::Url;

/// Single sign-on, switched on.
#[derive(Clone)]
pub struct SsoPlan {
    /// In order of names; never empty.
    pub providers: Vec<SsoProviderPlan>,
    pub session_lifetime: Duration,
    /// So long before its end a session is renewed; `None` = it is not.
    pub renewal_lead: Option<Duration>,
    pub claims: SsoClaimsPlan,
    pub authorization: AuthorizationPlan,
    /// Agents of callers who are not known are answered by a model that tells where to sign in.
    pub sandbox: bool,
}

/// An identity provider that people log in through.
#[derive(Clone)]
pub struct SsoProviderPlan {
    /// Lower case; part of URLs.
    pub name: String,
    /// As people call it.
    pub label: String,
    pub client_id: String,
    pub client_secret: Secret,
    pub scopes: Vec<String>,
    pub offline: OfflinePlan,
    pub way: LoginWayPlan,
}

/// What a refresh token takes, where `offline_access` is among the scopes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OfflinePlan {
    /// The scope.
    Scope,
    /// The scope, and that the person is asked.
    Consent,
    /// Google's parameter in place of the scope, and that the person is asked.
    AccessType,
}

/// Where a provider is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoginWayPlan {
    /// OpenID Connect: everything stands in the issuer's discovery document.
    Discovered {
        issuer: Url,
        /// Each of its tenants is an issuer of its own, as Microsoft's directories are. These may
        /// log in; when it is empty, all.
        tenants: Option<Vec<String>>,
    },
    /// OpenID Connect without discovery.
    Written {
        issuer: String,
        authorize: Url,
        token: Url,
        jwks: Url,
    },
    /// OAuth 2 alone: who it is says the answer of `userinfo`.
    OAuth2 {
        authorize: Url,
        token: Url,
        userinfo: Url,
        /// Where GitHub lists the addresses of a person, verified or not.
        emails: Option<Url>,
    },
}

/// Under which claims a provider says what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SsoClaimsPlan {
    pub groups: String,
    pub team: String,
}

/// Who may have tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorizationPlan {
    pub mode: LoginModePlan,
    pub rate: LoginRatePlan,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoginModePlan {
    /// Whoever can read the log.
    SingleUser { expiry: Duration, attempts: u32 },
    /// Whom the authorization API lets in; without one, everybody whom a provider knows.
    Enterprise { api: Option<Url>, timeout: Duration },
}

/// Who is asked about callers with signed tokens, who have no login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemotePlan {
    pub api: Url,
    pub timeout: Duration,
    /// An answer is good for no longer than a session would be.
    pub lifetime: Duration,
}

/// How logins are slowed down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoginRatePlan {
    /// As many in a row are let through.
    pub attempts: u32,
    pub multiplier: u32,
    pub max: Duration,
}
