//! The authorization code flow (RFC 6749, 4.1), always with PKCE (RFC 7636) by S256.
//!
//! A provider without ID tokens is asked like the others: it passes over a nonce (RFC 6749, 3.1),
//! and its answers have no ID token.

use futures::future::BoxFuture;
use openidconnect::core::{
    CoreAuthPrompt, CoreAuthenticationFlow, CoreClient, CoreErrorResponseType, CoreIdToken,
    CoreTokenResponse,
};
use openidconnect::{
    AsyncHttpClient, AuthType, AuthorizationCode, ClientId, ClientSecret, CsrfToken,
    EndpointNotSet, EndpointSet, HttpRequest, HttpResponse, JsonWebKeySet, Nonce,
    OAuth2TokenResponse, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, RefreshToken,
    RequestTokenError, Scope, StandardErrorResponse, TokenResponse,
};
use serde::Deserialize;
use turnpike_api::Secret;
use url::Url;

use super::discovery::Flow;
use super::{LoginError, Offline, Outside, OutsideError, Provider, Purpose, Returned, Seals};
use crate::jwt;

/// The scope that asks for a refresh token (OpenID Connect Core 1.0, 11).
const OFFLINE: &str = "offline_access";

/// What a provider gives for a code.
pub(super) struct Given {
    pub(super) access: Secret,
    /// Not checked yet.
    pub(super) id_token: Option<CoreIdToken>,
    pub(super) refresh: Option<Secret>,
}

impl Given {
    fn of(answer: &CoreTokenResponse) -> Self {
        let refresh = answer.refresh_token();
        Self {
            access: Secret::new(answer.access_token().secret().as_str()),
            id_token: answer.id_token().cloned(),
            refresh: refresh.map(|token| Secret::new(token.secret().as_str())),
        }
    }
}

type Client = CoreClient<
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
    EndpointNotSet,
>;

/// The way out, as the library calls it.
struct Through<'o>(&'o dyn Outside);

impl<'c> AsyncHttpClient<'c> for Through<'_> {
    type Error = OutsideError;
    type Future = BoxFuture<'c, Result<HttpResponse, OutsideError>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        self.0.call(request)
    }
}

impl Provider {
    /// Where a browser is sent to log in.
    pub(super) fn authorization_url(
        &self,
        flow: &Flow,
        (state, redirect_uri): (&str, &str),
        seals: &Seals,
    ) -> Result<Url, LoginError> {
        let verifier = PkceCodeVerifier::new(seals.seal(Purpose::Verifier, state));
        let nonce = Nonce::new(seals.seal(Purpose::Nonce, state));
        let state = CsrfToken::new(state.to_owned());
        let client = self.client(flow)?.set_redirect_uri(redirect(redirect_uri)?);
        let mut asked = client
            .authorize_url(
                CoreAuthenticationFlow::AuthorizationCode,
                || state,
                || nonce,
            )
            .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier));
        for scope in &self.client.scopes {
            asked = match (scope.as_str(), self.client.offline) {
                (OFFLINE, Offline::AccessType) => asked
                    .add_extra_param("access_type", "offline")
                    .add_prompt(CoreAuthPrompt::Consent),
                (OFFLINE, Offline::Consent) => asked
                    .add_scope(Scope::new(scope.clone()))
                    .add_prompt(CoreAuthPrompt::Consent),
                _ => asked.add_scope(Scope::new(scope.clone())),
            };
        }
        let (url, ..) = asked.url();
        Ok(url)
    }

    /// Exchanges a code. That it is the code of this login, the verifier shows.
    pub(super) async fn exchange(
        &self,
        flow: &Flow,
        returned: &Returned<'_>,
        verifier: String,
        outside: &dyn Outside,
    ) -> Result<Given, LoginError> {
        let given = self
            .client(flow)?
            .set_redirect_uri(redirect(returned.redirect_uri)?)
            .exchange_code(AuthorizationCode::new(returned.code.to_owned()))
            .set_pkce_verifier(PkceCodeVerifier::new(verifier))
            .request_async(&Through(outside))
            .await
            .map_err(failed)?;
        Ok(Given::of(&given))
    }

    /// Asks for new tokens, with the one that was granted for that.
    pub(super) async fn renew(
        &self,
        flow: &Flow,
        refresh: &Secret,
        outside: &dyn Outside,
    ) -> Result<Given, LoginError> {
        let refresh = RefreshToken::new(refresh.expose().to_owned());
        let given = self
            .client(flow)?
            .exchange_refresh_token(&refresh)
            .request_async(&Through(outside))
            .await
            .map_err(|error| match error {
                RequestTokenError::ServerResponse(answer)
                    if *answer.error() == CoreErrorResponseType::InvalidGrant =>
                {
                    LoginError::Withdrawn
                }
                error => failed(error),
            })?;
        Ok(Given::of(&given))
    }

    /// Without keys: those of an ID token's issuer are looked up when there is one.
    fn client(&self, flow: &Flow) -> Result<Client, LoginError> {
        let id = ClientId::new(self.client.id.clone());
        let client = CoreClient::new(id, flow.issuer.clone(), JsonWebKeySet::default())
            .set_client_secret(ClientSecret::new(self.client.secret.expose().to_owned()))
            .set_auth_uri(flow.authorize.clone())
            .set_token_uri(flow.token.clone());
        // The scopes are those of the configuration, which sees to `openid`.
        let client = client.disable_openid_scope();
        Ok(match flow.secret_in_body {
            true => client.set_auth_type(AuthType::RequestBody),
            false => client,
        })
    }
}

fn redirect(uri: &str) -> Result<RedirectUrl, LoginError> {
    RedirectUrl::new(uri.to_owned()).map_err(|error| LoginError::Exchange(error.to_string()))
}

type Failed = RequestTokenError<OutsideError, StandardErrorResponse<CoreErrorResponseType>>;

/// Why there is no token.
fn failed(error: Failed) -> LoginError {
    match error {
        RequestTokenError::Request(error) => LoginError::Unreachable(error.0),
        RequestTokenError::ServerResponse(answer) => {
            let description = answer.error_description().map_or("", String::as_str);
            let said = format!("{} {description}", answer.error());
            if said.contains("redirect_uri") {
                return LoginError::RedirectUri;
            }
            LoginError::Exchange(short(&said))
        }
        RequestTokenError::Parse(_, answer) => LoginError::Exchange(unreadable(&answer)),
        RequestTokenError::Other(_) => {
            LoginError::Exchange("the token endpoint's answer is not a token".into())
        }
    }
}

/// What is wrong with an answer that the library could not read: it reads the ID token with it.
/// Nothing of the answer is repeated: a token may be in it.
fn unreadable(answer: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Answer {
        id_token: Box<str>,
    }
    let Ok(Answer { id_token }) = serde_json::from_slice(answer) else {
        return "the token endpoint's answer cannot be read".into();
    };
    match jwt::unreadable(&id_token) {
        Some(refused) => format!("its ID token is not good: {refused}"),
        None => "its ID token is not good: a claim of OpenID Connect's is missing, or of another \
                 type than it should be"
            .into(),
    }
}

/// Somebody else's text, for a page and the log.
pub(super) fn short(text: &str) -> String {
    let seen = text.trim().chars().filter(|c| !c.is_control());
    seen.take(200).collect()
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_that_cannot_be_read_says_why_and_nothing_of_itself() {
        let token = |header: &str| {
            let [header, claims] =
                [header, r#"{"iss":"CANARY"}"#].map(|part| URL_SAFE_NO_PAD.encode(part));
            json!({"access_token": "CANARY", "token_type": "Bearer", "id_token": format!("{header}.{claims}.AAAA")})
        };
        for (answer, expected) in [
            (
                json!("CANARY"),
                "the token endpoint's answer cannot be read",
            ),
            (
                json!({"access_token": "CANARY"}),
                "the token endpoint's answer cannot be read",
            ),
            (
                json!({"id_token": "CANARY"}),
                "its ID token is not good: it is not a JSON Web Token",
            ),
            (
                token(r#"{"alg":"ES512"}"#),
                "its ID token is not good: the token's algorithm is not allowed (`alg`)",
            ),
            (
                token(r#"{"alg":"RS256"}"#),
                "its ID token is not good: a claim of OpenID Connect's is missing, or of another \
                 type than it should be",
            ),
        ] {
            assert_eq!(unreadable(answer.to_string().as_bytes()), expected);
        }
    }
}
