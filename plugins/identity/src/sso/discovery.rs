//! What a provider says of itself (OpenID Connect Discovery 1.0).

use openidconnect::core::{
    CoreAuthDisplay, CoreClaimName, CoreClaimType, CoreClientAuthMethod, CoreGrantType,
    CoreJsonWebKey, CoreJweContentEncryptionAlgorithm, CoreJweKeyManagementAlgorithm,
    CoreResponseMode, CoreResponseType, CoreSubjectIdentifierType,
};
use openidconnect::{
    AdditionalProviderMetadata, AuthUrl, IssuerUrl, PkceCodeChallengeMethod, ProviderMetadata,
    TokenUrl,
};
use serde::{Deserialize, Serialize};
use url::Url;

use super::Tenants;

/// The longest document that is read; the largest known have a twentieth.
const LONGEST: usize = 256 << 10;

/// Where the code flow is done with a provider.
#[derive(Clone, Debug)]
pub(super) struct Flow {
    /// The `iss` of its ID tokens, letter for letter; or what it is made of (`tenants`).
    pub(super) issuer: IssuerUrl,
    pub(super) authorize: AuthUrl,
    pub(super) token: TokenUrl,
    /// It takes our secret in the body only.
    pub(super) secret_in_body: bool,
}

/// Where a provider of ID tokens is asked for what.
#[derive(Clone, Debug)]
pub(super) struct Endpoints {
    pub(super) flow: Flow,
    /// Where each of them is an issuer of its own, the flow's issuer has a place for their ids.
    pub(super) tenants: Option<Tenants>,
    pub(super) jwks: Url,
    pub(super) userinfo: Option<Url>,
    /// It names itself in its answers (RFC 9207), which tells it from others.
    pub(super) names_itself: bool,
}

type Metadata = ProviderMetadata<
    More,
    CoreAuthDisplay,
    CoreClientAuthMethod,
    CoreClaimName,
    CoreClaimType,
    CoreGrantType,
    CoreJweContentEncryptionAlgorithm,
    CoreJweKeyManagementAlgorithm,
    CoreJsonWebKey,
    CoreResponseMode,
    CoreResponseType,
    CoreSubjectIdentifierType,
>;

/// What younger standards than OpenID Connect have in the document (RFC 8414, RFC 9207).
#[derive(Clone, Debug, Deserialize, Serialize)]
struct More {
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
    code_challenge_methods_supported: Option<Vec<PkceCodeChallengeMethod>>,
}

impl AdditionalProviderMetadata for More {}

/// Where an issuer's document is.
pub(super) fn document_url(issuer: &Url) -> Url {
    let mut url = issuer.clone();
    let path = issuer.path().trim_end_matches('/');
    url.set_path(&format!("{path}/.well-known/openid-configuration"));
    url
}

/// Reads the document of `issuer`. An error says what is wrong with it.
pub(super) fn read(
    document: &[u8],
    issuer: &Url,
    tenants: Option<&Tenants>,
) -> Result<Endpoints, String> {
    if document.len() > LONGEST {
        return Err("the discovery document is too long".into());
    }
    let found: Metadata = serde_json::from_slice(document)
        .map_err(|error| format!("the discovery document cannot be read: {error}"))?;
    match tenants {
        None => refuse_others(&found, issuer.as_str())?,
        Some(_) => refuse_others(&found, &Tenants::issuer_of_all(issuer))?,
    }
    refuse_without_pkce(&found)?;
    let Some(token) = found.token_endpoint() else {
        return Err("the discovery document has no `token_endpoint`".into());
    };
    let endpoints = Endpoints {
        flow: Flow {
            issuer: found.issuer().clone(),
            authorize: found.authorization_endpoint().clone(),
            token: token.clone(),
            secret_in_body: takes_the_secret_in_the_body_only(&found),
        },
        tenants: tenants.cloned(),
        jwks: found.jwks_uri().url().clone(),
        userinfo: found.userinfo_endpoint().map(|at| at.url().clone()),
        names_itself: (found.additional_metadata()).authorization_response_iss_parameter_supported,
    };
    refuse_clear_text(&endpoints, issuer)?;
    Ok(endpoints)
}

/// With another's name it could be another's keys. A slash at the end is what people forget.
fn refuse_others(found: &Metadata, issuer: &str) -> Result<(), String> {
    if found.issuer().trim_end_matches('/') == issuer.trim_end_matches('/') {
        return Ok(());
    }
    let named: String = found.issuer().chars().take(100).collect();
    Err(format!(
        "the discovery document is another issuer's: it names {named:?}; if that is who was meant, \
         write it as `discovery_url`"
    ))
}

fn refuse_without_pkce(found: &Metadata) -> Result<(), String> {
    let methods = &found.additional_metadata().code_challenge_methods_supported;
    match methods {
        Some(methods) if !methods.iter().any(|method| method.as_str() == "S256") => {
            Err("the provider says that it does not do PKCE with S256".into())
        }
        _ => Ok(()),
    }
}

fn takes_the_secret_in_the_body_only(found: &Metadata) -> bool {
    let methods = found.token_endpoint_auth_methods_supported();
    let takes = |method| methods.is_some_and(|methods| methods.contains(&method));
    takes(CoreClientAuthMethod::ClientSecretPost) && !takes(CoreClientAuthMethod::ClientSecretBasic)
}

/// What comes in clear text could be anybody's. An issuer in clear text is on this machine.
fn refuse_clear_text(endpoints: &Endpoints, issuer: &Url) -> Result<(), String> {
    let Endpoints { flow, .. } = endpoints;
    let all = [flow.authorize.url(), flow.token.url(), &endpoints.jwks];
    for url in all.into_iter().chain(&endpoints.userinfo) {
        if url.scheme() != "https" && !(issuer.scheme() == "http" && url.scheme() == "http") {
            return Err(format!(
                "the discovery document names {url}, which is not at https://"
            ));
        }
    }
    Ok(())
}
