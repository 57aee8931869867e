//! The sections `sso` and `authorization`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ReferenceText, SecretText, Span};

#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Sso {
    pub(crate) enabled: bool,
    /// So long after a login its agent tokens work; 24 unless said. Also under `authorization`.
    #[schemars(range(min = 1, max = 8760))]
    pub(crate) session_lifetime_hours: Option<u32>,
    /// Identity providers, by a name in lower case.
    pub(crate) providers: BTreeMap<String, SsoProvider>,
    pub(crate) claims: SsoClaims,
    pub(crate) silent_renewal: SilentRenewal,
}

/// Sessions are renewed without their people, where the provider granted a refresh token
/// (`offline_access` among the scopes, with most).
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SilentRenewal {
    pub(crate) enabled: bool,
    /// So long before the session ends.
    pub(crate) lead: Span,
}

impl Default for SilentRenewal {
    fn default() -> Self {
        Self {
            enabled: true,
            lead: Span::seconds(600),
        }
    }
}

/// The claims that say what there is to know of a person; `a.b` is the claim `b` within `a`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SsoClaims {
    pub(crate) groups: String,
    pub(crate) team: String,
}

impl Default for SsoClaims {
    fn default() -> Self {
        Self {
            groups: "groups".into(),
            team: "team".into(),
        }
    }
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SsoProvider {
    pub(crate) enabled: bool,
    /// `oidc`, or `oauth2` where there are no ID tokens. With a `discovery_url` both are OIDC.
    #[serde(rename = "type")]
    pub(crate) kind: Option<SsoKind>,
    /// Fills in endpoints and scopes; a provider that is named like a preset uses it.
    pub(crate) preset: Option<Preset>,
    /// As people call it; the default is made of the name.
    pub(crate) label: Option<String>,
    pub(crate) client_id: Option<ReferenceText>,
    pub(crate) client_secret: Option<SecretText>,
    /// The issuer's URL, with or without `/.well-known/openid-configuration`.
    pub(crate) discovery_url: Option<ReferenceText>,
    /// The `iss` of its ID tokens; for `type: oidc` without discovery.
    pub(crate) issuer: Option<ReferenceText>,
    pub(crate) authorize_url: Option<ReferenceText>,
    /// Another name of `authorize_url`.
    pub(crate) authorization_endpoint: Option<ReferenceText>,
    pub(crate) token_url: Option<ReferenceText>,
    /// Another name of `token_url`.
    pub(crate) token_endpoint: Option<ReferenceText>,
    /// Where its keys are; for `type: oidc` without discovery.
    pub(crate) jwks_url: Option<ReferenceText>,
    /// Who a person is, for `type: oauth2`.
    pub(crate) userinfo_url: Option<ReferenceText>,
    pub(crate) scopes: Option<Vec<String>>,
    /// Of the preset `microsoft`: the directory's id; or `organizations` or `common`, for many.
    pub(crate) tenant: Option<ReferenceText>,
    /// The ids of the directories whose people may log in, where `tenant` is `organizations` or
    /// `common`. Empty: of all.
    pub(crate) allowed_tenants: Vec<String>,
    /// Of the presets `okta`, `auth0` and `onelogin`, and of GitHub and GitLab on hosts of one's own.
    pub(crate) domain: Option<ReferenceText>,
    /// Of the preset `aws` (Cognito).
    pub(crate) region: Option<ReferenceText>,
    /// Of the preset `aws` (Cognito).
    pub(crate) user_pool_id: Option<ReferenceText>,
}

impl Default for SsoProvider {
    fn default() -> Self {
        Self {
            enabled: true,
            kind: None,
            preset: None,
            label: None,
            client_id: None,
            client_secret: None,
            discovery_url: None,
            issuer: None,
            authorize_url: None,
            authorization_endpoint: None,
            token_url: None,
            token_endpoint: None,
            jwks_url: None,
            userinfo_url: None,
            scopes: None,
            tenant: None,
            allowed_tenants: Vec::new(),
            domain: None,
            region: None,
            user_pool_id: None,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SsoKind {
    OAuth2,
    Oidc,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Preset {
    Google,
    Microsoft,
    Azure,
    Okta,
    Auth0,
    Github,
    Gitlab,
    Onelogin,
    Aws,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Authorization {
    pub(crate) mode: LoginMode,
    /// The same as `sso.session_lifetime_hours`.
    #[schemars(range(min = 1, max = 8760))]
    pub(crate) session_lifetime_hours: Option<u32>,
    /// Asked about each login, and about callers with signed tokens, in the mode `enterprise`.
    pub(crate) api_url: Option<ReferenceText>,
    #[schemars(range(min = 1, max = 60))]
    pub(crate) api_timeout_seconds: u32,
    /// In the mode `single_user`.
    #[schemars(range(min = 1, max = 1440))]
    pub(crate) confirmation_code_expiry_minutes: u32,
    /// In the mode `single_user`.
    #[schemars(range(min = 1, max = 100))]
    pub(crate) max_confirmation_attempts: u32,
    pub(crate) rate_limit: LoginRate,
}

impl Default for Authorization {
    fn default() -> Self {
        Self {
            mode: LoginMode::default(),
            session_lifetime_hours: None,
            api_url: None,
            api_timeout_seconds: 5,
            confirmation_code_expiry_minutes: 10,
            max_confirmation_attempts: 3,
            rate_limit: LoginRate::default(),
        }
    }
}

/// Whoever can read the log, or whom an authorization API lets in.
#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LoginMode {
    #[default]
    SingleUser,
    Enterprise,
}

/// How logins from one address, and of one browser, are slowed down.
#[derive(Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LoginRate {
    /// As many in a row are let through; the next ones wait 2, 4, 8 … seconds.
    #[schemars(range(min = 1, max = 1000))]
    pub(crate) max_attempts: u32,
    /// By how much a wait is longer than the one before.
    #[schemars(range(min = 1, max = 10))]
    pub(crate) backoff_multiplier: u32,
    #[schemars(range(min = 1, max = 86_400))]
    pub(crate) max_backoff_seconds: u32,
}

impl Default for LoginRate {
    fn default() -> Self {
        Self {
            max_attempts: 10,
            backoff_multiplier: 2,
            max_backoff_seconds: 300,
        }
    }
}
