//! The authorization code flow (RFC 6749, 4.1), always with PKCE (RFC 7636) by S256.

use futures::future::BoxFuture;
use oauth2::basic::{
    BasicErrorResponse, BasicErrorResponseType, BasicRevocationErrorResponse,
    BasicTokenIntrospectionResponse, BasicTokenType,
};
use oauth2::{
    AsyncHttpClient, AuthType, AuthUrl, AuthorizationCode, ClientId, ClientSecret, CsrfToken,
    EndpointNotSet, ExtraTokenFields, HttpRequest, HttpResponse, PkceCodeChallenge,
    PkceCodeVerifier, RedirectUrl, RefreshToken, RequestTokenError, Scope, StandardRevocableToken,
    StandardTokenResponse, TokenResponse, TokenUrl,
};
use serde::{Deserialize, Serialize};
use turnpike_api::Secret;
use url::Url;

use super::{LoginError, Outside, OutsideError, Provider, Purpose, Seals};

/// What a provider gives for a code.
pub(super) struct Given {
    pub(super) access: Secret,
    pub(super) id_token: Option<Secret>,
    pub(super) refresh: Option<Secret>,
}

impl Given {
    fn of(answer: &Response) -> Self {
        let refresh = answer.refresh_token();
        Self {
            access: Secret::new(answer.access_token().secret().as_str()),
            id_token: answer.extra_fields().id_token.as_deref().map(Secret::new),
            refresh: refresh.map(|token| Secret::new(token.secret().as_str())),
        }
    }
}

/// What OpenID Connect adds to the answer. Without `Debug` that shows it.
#[derive(Serialize, Deserialize)]
struct IdToken {
    id_token: Option<String>,
}

impl std::fmt::Debug for IdToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("IdToken")
    }
}

impl ExtraTokenFields for IdToken {}

type Response = StandardTokenResponse<IdToken, BasicTokenType>;

type OAuth2 = oauth2::Client<
    BasicErrorResponse,
    Response,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
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
        at: &Url,
        state: &str,
        seals: &Seals,
        is_openid: bool,
    ) -> Result<Url, LoginError> {
        let verifier = PkceCodeVerifier::new(seals.seal(Purpose::Verifier, state));
        let client = self.oauth2()?.set_auth_uri(AuthUrl::from_url(at.clone()));
        let scopes = self.client.scopes.iter().cloned().map(Scope::new);
        let mut asked = client
            .authorize_url(|| CsrfToken::new(state.to_owned()))
            .add_scopes(scopes)
            .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier));
        if is_openid {
            asked = asked.add_extra_param("nonce", seals.seal(Purpose::Nonce, state));
        }
        Ok(asked.url().0)
    }

    /// Exchanges a code. That it is the code of this login, the verifier shows.
    pub(super) async fn exchange(
        &self,
        at: &Url,
        secret_in_body: bool,
        code: &str,
        verifier: String,
        outside: &dyn Outside,
    ) -> Result<Given, LoginError> {
        let client = self.oauth2()?.set_token_uri(TokenUrl::from_url(at.clone()));
        let client = match secret_in_body {
            true => client.set_auth_type(AuthType::RequestBody),
            false => client,
        };
        let given = client
            .exchange_code(AuthorizationCode::new(code.to_owned()))
            .set_pkce_verifier(PkceCodeVerifier::new(verifier))
            .request_async(&Through(outside))
            .await
            .map_err(failed)?;
        Ok(Given::of(&given))
    }

    /// Asks for new tokens, with the one that was granted for that.
    pub(super) async fn renew(
        &self,
        at: &Url,
        secret_in_body: bool,
        refresh: &Secret,
        outside: &dyn Outside,
    ) -> Result<Given, LoginError> {
        let client = self.oauth2()?.set_token_uri(TokenUrl::from_url(at.clone()));
        let client = match secret_in_body {
            true => client.set_auth_type(AuthType::RequestBody),
            false => client,
        };
        let refresh = RefreshToken::new(refresh.expose().to_owned());
        let given = client
            .exchange_refresh_token(&refresh)
            .request_async(&Through(outside))
            .await
            .map_err(|error| match error {
                RequestTokenError::ServerResponse(answer)
                    if *answer.error() == BasicErrorResponseType::InvalidGrant =>
                {
                    LoginError::Withdrawn
                }
                error => failed(error),
            })?;
        Ok(Given::of(&given))
    }

    fn oauth2(&self) -> Result<OAuth2, LoginError> {
        let redirect = RedirectUrl::new(self.client.redirect_uri.clone());
        let redirect = redirect.map_err(|error| LoginError::Exchange(error.to_string()))?;
        let client = OAuth2::new(ClientId::new(self.client.id.clone()))
            .set_client_secret(ClientSecret::new(self.client.secret.expose().to_owned()))
            .set_redirect_uri(redirect);
        Ok(client)
    }
}

/// Why there is no token. The parts of an answer that could not be read are not repeated: a token
/// may be among them.
fn failed(error: RequestTokenError<OutsideError, BasicErrorResponse>) -> LoginError {
    match error {
        RequestTokenError::Request(error) => LoginError::Unreachable(error.0),
        RequestTokenError::ServerResponse(answer) => {
            let description = answer.error_description().map_or("", String::as_str);
            let said = format!("{} {description}", answer.error());
            if said.contains("redirect_uri") {
                return LoginError::RedirectUri;
            }
            LoginError::Exchange(
                said.trim()
                    .chars()
                    .filter(|c| !c.is_control())
                    .take(200)
                    .collect(),
            )
        }
        RequestTokenError::Parse(..) => {
            LoginError::Exchange("the token endpoint's answer cannot be read".into())
        }
        RequestTokenError::Other(_) => {
            LoginError::Exchange("the token endpoint's answer is not a token".into())
        }
    }
}
