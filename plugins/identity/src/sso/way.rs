//! Where a provider is, and what a refresh token takes there.

use openidconnect::{AuthUrl, IssuerUrl, TokenUrl};
use url::Url;

use super::discovery::{Endpoints, Flow};
use super::{LoginError, Tenants};

/// Where a provider is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    Discovered {
        issuer: Url,
        /// Each of them is an issuer of its own.
        tenants: Option<Tenants>,
    },
    Written {
        issuer: String,
        authorize: Url,
        token: Url,
        jwks: Url,
    },
    /// Without ID tokens.
    OAuth2 {
        authorize: Url,
        token: Url,
        userinfo: Url,
        /// Where GitHub lists the addresses of a person, verified or not.
        emails: Option<Url>,
    },
}

/// What a refresh token takes, where `offline_access` is among the scopes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offline {
    /// The scope.
    Scope,
    /// The scope, and that the person is asked (OpenID Connect Core 1.0, 11).
    Consent,
    /// Google knows no such scope: a parameter of its own, and that the person is asked.
    AccessType,
}

impl Way {
    /// The flow with a provider that has no ID tokens; `None` when it has.
    pub(super) fn plain(&self) -> Result<Option<Flow>, LoginError> {
        let Self::OAuth2 {
            authorize, token, ..
        } = self
        else {
            return Ok(None);
        };
        Ok(Some(Flow {
            issuer: issuer(authorize.origin().ascii_serialization())?,
            authorize: AuthUrl::from_url(authorize.clone()),
            token: TokenUrl::from_url(token.clone()),
            secret_in_body: true,
        }))
    }

    /// What is written of a provider that has ID tokens.
    pub(super) fn written(&self) -> Result<Endpoints, LoginError> {
        let Self::Written {
            issuer: name,
            authorize,
            token,
            jwks,
        } = self
        else {
            return Err(LoginError::Exchange("the provider has no endpoints".into()));
        };
        Ok(Endpoints {
            flow: Flow {
                issuer: issuer(name.clone())?,
                authorize: AuthUrl::from_url(authorize.clone()),
                token: TokenUrl::from_url(token.clone()),
                secret_in_body: false,
            },
            tenants: None,
            jwks: jwks.clone(),
            userinfo: None,
            names_itself: false,
        })
    }
}

fn issuer(name: String) -> Result<IssuerUrl, LoginError> {
    IssuerUrl::new(name).map_err(|error| LoginError::Exchange(error.to_string()))
}
