//! What a provider says of itself (OpenID Connect Discovery 1.0).

use serde::Deserialize;
use url::Url;

/// The longest document that is read; the largest known have a twentieth.
const LONGEST: usize = 256 << 10;

/// Where a provider is asked for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoints {
    /// The `iss` of its ID tokens, letter for letter.
    pub(super) issuer: String,
    pub(super) authorize: Url,
    pub(super) token: Url,
    pub(super) jwks: Url,
    pub(super) userinfo: Option<Url>,
    /// It names itself in its answers (RFC 9207), which tells it from others.
    pub(super) names_itself: bool,
    /// It takes our secret in the body only.
    pub(super) secret_in_body: bool,
}

#[derive(Deserialize)]
struct Document {
    issuer: String,
    authorization_endpoint: Url,
    token_endpoint: Url,
    jwks_uri: Url,
    userinfo_endpoint: Option<Url>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    code_challenge_methods_supported: Option<Vec<String>>,
}

/// Where an issuer's document is.
pub(super) fn document_url(issuer: &Url) -> Url {
    let mut url = issuer.clone();
    let path = issuer.path().trim_end_matches('/');
    url.set_path(&format!("{path}/.well-known/openid-configuration"));
    url
}

/// Reads the document of `issuer`. An error says what is wrong with it.
pub(super) fn read(document: &[u8], issuer: &Url) -> Result<Endpoints, String> {
    if document.len() > LONGEST {
        return Err("the discovery document is too long".into());
    }
    let found: Document = serde_json::from_slice(document)
        .map_err(|error| format!("the discovery document cannot be read: {error}"))?;
    // With another's name it could be another's keys. A slash at the end is what people forget.
    if found.issuer.trim_end_matches('/') != issuer.as_str().trim_end_matches('/') {
        let named: String = found.issuer.chars().take(100).collect();
        return Err(format!(
            "the discovery document is another issuer's: it names {named:?}"
        ));
    }
    if let Some(methods) = &found.code_challenge_methods_supported
        && !methods.iter().any(|method| method == "S256")
    {
        return Err("the provider says that it does not do PKCE with S256".into());
    }
    let methods = found
        .token_endpoint_auth_methods_supported
        .unwrap_or_default();
    let takes = |method: &str| methods.iter().any(|one| one == method);
    let endpoints = Endpoints {
        secret_in_body: takes("client_secret_post") && !takes("client_secret_basic"),
        issuer: found.issuer,
        authorize: found.authorization_endpoint,
        token: found.token_endpoint,
        jwks: found.jwks_uri,
        userinfo: found.userinfo_endpoint,
        names_itself: found.authorization_response_iss_parameter_supported,
    };
    let all = [&endpoints.authorize, &endpoints.token, &endpoints.jwks].into_iter();
    for url in all.chain(&endpoints.userinfo) {
        // What comes in clear text could be anybody's. An issuer in clear text is on this machine.
        if url.scheme() != "https" && !(issuer.scheme() == "http" && url.scheme() == "http") {
            return Err(format!(
                "the discovery document names {url}, which is not at https://"
            ));
        }
    }
    Ok(endpoints)
}
