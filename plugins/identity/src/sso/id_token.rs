//! Checking ID tokens: two checks, each of which can refuse.
//!
//! The first is that of signed tokens (`jwt`). It finds the issuer's key among those that are kept,
//! and looks at what the library leaves open: `nbf`, a time in the future, who a token of several
//! audiences was made for. The second is the library's (OpenID Connect Core 1.0, 3.1.3.7), with
//! that one key.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use openidconnect::core::{CoreIdToken, CoreIdTokenVerifier, CoreJsonWebKey};
use openidconnect::core::{CoreIdTokenClaims, CoreJwsSigningAlgorithm as Signed};
use openidconnect::{
    AccessToken, AccessTokenHash, ClaimsVerificationError, ClientId, IssuerUrl, JsonWebKeySet,
    Nonce, NonceVerifier,
};
use serde::Deserialize;
use serde_json::Value;
use turnpike_api::{Clock, Secret};

use super::discovery::Endpoints;
use super::exchange::{Given, short};
use super::{LoginError, Outside, Provider, Tenants};
use crate::jwt::{
    self, Algorithm, ClaimNames, Claims, Issuer, JwtVerifier, KeyCache, MAX_LEEWAY, Proven, Refused,
};

/// The claim that names a directory of Microsoft's.
const TENANT: &str = "tid";

/// What an ID token may be signed with: whatever only its issuer can.
const ALGORITHMS: [(Algorithm, Signed); 9] = [
    (Algorithm::Rs256, Signed::RsaSsaPkcs1V15Sha256),
    (Algorithm::Rs384, Signed::RsaSsaPkcs1V15Sha384),
    (Algorithm::Rs512, Signed::RsaSsaPkcs1V15Sha512),
    (Algorithm::Ps256, Signed::RsaSsaPssSha256),
    (Algorithm::Ps384, Signed::RsaSsaPssSha384),
    (Algorithm::Ps512, Signed::RsaSsaPssSha512),
    (Algorithm::Es256, Signed::EcdsaP256Sha256),
    (Algorithm::Es384, Signed::EcdsaP384Sha384),
    (Algorithm::EdDsa, Signed::EdDsa),
];

impl Provider {
    /// What an ID token says. The nonce is that of the login; a renewal has none.
    pub(super) async fn claims(
        &self,
        given: &Given,
        nonce: Option<&Nonce>,
        endpoints: &Endpoints,
        outside: &dyn Outside,
        clock: Arc<dyn Clock>,
    ) -> Result<Claims, LoginError> {
        let token = given.id_token.as_ref();
        let token =
            token.ok_or_else(|| LoginError::Exchange("the provider gave no ID token".into()))?;
        let (now, text) = (clock.now(), token.to_string());
        let issuer = issuer_of(&text, endpoints)?;
        let keys = outside.keys(&endpoints.flow.issuer, &endpoints.jwks);
        let mut proven = self.prove(&text, &issuer, keys, clock).await?;
        self.refuse_of_others(&proven.claims)?;
        let verifier = self.verifier(&issuer, &proven, now)?;
        let checked = confirm(token, nonce, &verifier)?;
        refuse_another_access_token(token, checked, &verifier, &given.access)?;
        if endpoints.tenants.is_some() {
            refuse_anothers_key(&proven.key, endpoints, &issuer)?;
            let is_denied = proven.claims.email_verified == Some(false);
            let is_verified = !is_denied && Tenants::vouch_for(&proven.said);
            proven.claims.email_verified = Some(is_verified);
        }
        Ok(proven.claims)
    }

    /// The first check.
    async fn prove(
        &self,
        token: &str,
        issuer: &IssuerUrl,
        keys: Arc<KeyCache>,
        clock: Arc<dyn Clock>,
    ) -> Result<Proven, LoginError> {
        let audience = vec![self.client.id.as_str().into()];
        let algorithms = ALGORITHMS.map(|(algorithm, _)| algorithm);
        let issuer = Issuer::new(issuer.as_str(), audience, algorithms.to_vec());
        let issuer = issuer.map_err(|error| LoginError::Exchange(error.to_string()))?;
        let issuer = issuer.with_claims(ClaimNames {
            groups: self.client.groups.as_str().into(),
            team: self.client.team.as_str().into(),
            others: self.client.claims.clone(),
            ..ClaimNames::default()
        });
        let proven = JwtVerifier::new(issuer, keys, clock).prove(token).await;
        proven.map_err(|refused| match refused {
            Refused::NoKeys => LoginError::Unreachable(refused.text().into()),
            refused => not_good(refused.text()),
        })
    }

    /// A token that was given to another party, also where it has one audience.
    fn refuse_of_others(&self, claims: &Claims) -> Result<(), LoginError> {
        match &claims.authorized_party {
            Some(party) if **party != *self.client.id => {
                Err(not_good(Refused::AuthorizedParty.text()))
            }
            _ => Ok(()),
        }
    }

    /// What makes the second check. As of a public client, so that our secret is no key to sign with.
    fn verifier(
        &self,
        issuer: &IssuerUrl,
        proven: &Proven,
        now: u64,
    ) -> Result<CoreIdTokenVerifier<'static>, LoginError> {
        let key = CoreJsonWebKey::deserialize(&*proven.key);
        let key = key.map_err(|_| not_good(Refused::UnknownKey.text()))?;
        let keys = JsonWebKeySet::new(vec![key]);
        let id = ClientId::new(self.client.id.clone());
        let now = less_leeway(now);
        Ok(
            CoreIdTokenVerifier::new_public_client(id, issuer.clone(), keys)
                .set_allowed_algs(ALGORITHMS.map(|(_, signed)| signed))
                .set_time_fn(move || now)
                // Of several audiences, the first check wants ours in `azp`.
                .set_other_audience_verifier_fn(|_| true),
        )
    }
}

/// The second check.
fn confirm<'t>(
    token: &'t CoreIdToken,
    nonce: Option<&Nonce>,
    verifier: &CoreIdTokenVerifier<'_>,
) -> Result<&'t CoreIdTokenClaims, LoginError> {
    let is_of_login = |found: Option<&Nonce>| match nonce {
        Some(nonce) => nonce.verify(found),
        None => Ok(()),
    };
    let checked = token.claims(verifier, is_of_login);
    checked.map_err(|error| match error {
        ClaimsVerificationError::InvalidNonce(_) => {
            LoginError::Exchange("its ID token is of another login (`nonce`)".into())
        }
        error => not_good(&error.to_string()),
    })
}

/// Whose token it has to be. Of many tenants the token names its own; whether it may, the checks
/// say.
fn issuer_of(token: &str, endpoints: &Endpoints) -> Result<IssuerUrl, LoginError> {
    let issuer = &endpoints.flow.issuer;
    let Some(tenants) = &endpoints.tenants else {
        return Ok(issuer.clone());
    };
    let tenant = jwt::unproven(token, TENANT);
    let tenant = tenant.ok_or_else(|| not_good("it does not say of which tenant it is (`tid`)"))?;
    let issuer = tenants.issuer_of(issuer, &tenant);
    issuer.map_err(|refused| not_good(&refused.to_string()))
}

/// A key that the document says to be of one tenant signs for that one alone.
fn refuse_anothers_key(
    key: &Value,
    endpoints: &Endpoints,
    issuer: &IssuerUrl,
) -> Result<(), LoginError> {
    let all = &endpoints.flow.issuer;
    match key.get("issuer") {
        Some(of) if of != all.as_str() && of != issuer.as_str() => {
            Err(not_good("it is signed with another tenant's key"))
        }
        _ => Ok(()),
    }
}

/// An ID token that was made beside another access token (3.1.3.8).
fn refuse_another_access_token(
    token: &CoreIdToken,
    claims: &CoreIdTokenClaims,
    verifier: &CoreIdTokenVerifier<'_>,
    access: &Secret,
) -> Result<(), LoginError> {
    let Some(said) = claims.access_token_hash() else {
        return Ok(());
    };
    let access = AccessToken::new(access.expose().to_owned());
    let signed = token.signing_alg().and_then(|algorithm| {
        let key = token.signing_key(verifier)?;
        Ok((algorithm, key))
    });
    let (algorithm, key) = signed.map_err(|error| not_good(&error.to_string()))?;
    match AccessTokenHash::from_token(&access, algorithm, key) {
        Ok(hash) if hash == *said => Ok(()),
        _ => Err(not_good("it is of another access token (`at_hash`)")),
    }
}

/// The clocks may differ by as much as in the first check. A time that is none has everything
/// expired.
fn less_leeway(now: u64) -> DateTime<Utc> {
    let now = now.saturating_sub(MAX_LEEWAY.as_millis() as u64);
    let now = i64::try_from(now).ok();
    let now = now.and_then(DateTime::from_timestamp_millis);
    now.unwrap_or(DateTime::<Utc>::MAX_UTC)
}

fn not_good(why: &str) -> LoginError {
    LoginError::Exchange(format!("its ID token is not good: {}", short(why)))
}
