//! Who a person is, as their provider says.

use std::sync::Arc;

use http::Request;
use http::header::{ACCEPT, AUTHORIZATION};
use serde_json::{Map, Value};
use turnpike_api::{Clock, Secret};
use url::Url;

use super::discovery::Endpoints;
use super::exchange::Given;
use super::provider::Way;
use super::{LoginError, Outside, Person, Provider};
use crate::jwt::{Algorithm, ClaimNames, Claims, Issuer, JwtVerifier, Refused, named, names};

/// What an ID token may be signed with: whatever only its issuer can.
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::Rs256,
    Algorithm::Rs384,
    Algorithm::Rs512,
    Algorithm::Ps256,
    Algorithm::Ps384,
    Algorithm::Ps512,
    Algorithm::Es256,
    Algorithm::Es384,
    Algorithm::EdDsa,
];

impl Provider {
    /// Of an ID token, which is checked as a whole: a login with one that fails is none.
    pub(super) async fn person_of_token(
        &self,
        given: &Given,
        nonce: &str,
        endpoints: &Endpoints,
        outside: &dyn Outside,
        clock: Arc<dyn Clock>,
    ) -> Result<Person, LoginError> {
        let claims = self.claims(given, endpoints, outside, clock).await?;
        refuse_others(&claims, nonce, &self.client.id)?;
        let mut person = Person {
            issuer: claims.issuer.to_string(),
            subject: claims.subject.to_string(),
            email: claims.usable_email().map(str::to_owned),
            groups: claims
                .groups
                .iter()
                .map(|group| group.to_string())
                .collect(),
            team: claims.team.as_deref().map(str::to_owned),
        };
        // Many providers say in the token only who it is.
        if person.email.is_none()
            && claims.email.is_none()
            && let Some(userinfo) = &endpoints.userinfo
        {
            let said = ask(userinfo, &given.access, outside).await;
            self.complete(&mut person, said);
        }
        Ok(person)
    }

    /// What an ID token says, if it is its provider's, for us and for now.
    pub(super) async fn claims(
        &self,
        given: &Given,
        endpoints: &Endpoints,
        outside: &dyn Outside,
        clock: Arc<dyn Clock>,
    ) -> Result<Claims, LoginError> {
        let token = given.id_token.as_ref();
        let token =
            token.ok_or_else(|| LoginError::Exchange("the provider gave no ID token".into()))?;
        let audience = vec![self.client.id.as_str().into()];
        let issuer = Issuer::new(endpoints.issuer.as_str(), audience, ALGORITHMS.to_vec());
        let issuer = issuer.map_err(|error| LoginError::Exchange(error.to_string()))?;
        let issuer = issuer.with_claims(ClaimNames {
            groups: self.client.groups.as_str().into(),
            team: self.client.team.as_str().into(),
            ..ClaimNames::default()
        });
        let keys = outside.keys(&endpoints.issuer, &endpoints.jwks);
        let claims = JwtVerifier::new(issuer, keys, clock)
            .verify(token.expose())
            .await;
        claims.map_err(|refused| match refused {
            Refused::NoKeys => LoginError::Unreachable(refused.text().into()),
            refused => LoginError::Exchange(format!("its ID token is not good: {refused}")),
        })
    }

    /// Adds what is said of the same person (OpenID Connect Core 1.0, 5.3.2). Without an answer
    /// less is known of them, which lets nobody in.
    fn complete(&self, person: &mut Person, said: Result<Value, LoginError>) {
        let Ok(Value::Object(said)) = said else {
            return;
        };
        if said.get("sub").and_then(Value::as_str) != Some(&person.subject) {
            return;
        }
        person.email = verified_email(&said);
        if person.groups.is_empty() {
            person.groups = names(&said, &self.client.groups);
        }
        if person.team.is_none() {
            person.team = named(&said, &self.client.team);
        }
    }

    /// Of the answer to who the bearer of a token is, where there are no ID tokens.
    pub(super) async fn person_of_userinfo(
        &self,
        access: &Secret,
        outside: &dyn Outside,
    ) -> Result<Person, LoginError> {
        let Way::OAuth2 {
            authorize,
            userinfo,
            emails,
            ..
        } = &self.way
        else {
            return Err(LoginError::Exchange("the provider has no userinfo".into()));
        };
        let said = ask(userinfo, access, outside).await?;
        let Value::Object(said) = said else {
            return Err(LoginError::Exchange("it does not say who it is".into()));
        };
        let subject = named(&said, "sub").or_else(|| match said.get("id") {
            Some(Value::Number(id)) => Some(id.to_string()),
            _ => named(&said, "id"),
        });
        let subject =
            subject.ok_or_else(|| LoginError::Exchange("it does not say who it is".into()))?;
        let email = match emails {
            None => verified_email(&said),
            Some(emails) => primary_verified(&ask(emails, access, outside).await?),
        };
        Ok(Person {
            issuer: authorize.origin().ascii_serialization(),
            subject,
            email,
            groups: names(&said, &self.client.groups),
            team: named(&said, &self.client.team),
        })
    }
}

/// A token of another login, or one that was given to another party.
fn refuse_others(claims: &Claims, nonce: &str, client: &str) -> Result<(), LoginError> {
    if claims.nonce.as_deref() != Some(nonce) {
        return Err(LoginError::Exchange(
            "its ID token is of another login (`nonce`)".into(),
        ));
    }
    match &claims.authorized_party {
        Some(party) if **party != *client => Err(LoginError::Exchange(format!(
            "its ID token is not good: {}",
            Refused::AuthorizedParty
        ))),
        _ => Ok(()),
    }
}

async fn ask(at: &Url, access: &Secret, outside: &dyn Outside) -> Result<Value, LoginError> {
    let request = Request::get(at.as_str())
        .header(ACCEPT, "application/json")
        .header(AUTHORIZATION, format!("Bearer {}", access.expose()))
        .body(Vec::new());
    let request =
        request.map_err(|_| LoginError::Exchange("its access token cannot be sent".into()))?;
    let answer = outside.call(request).await;
    let answer = answer.map_err(|error| LoginError::Unreachable(error.0))?;
    match answer.status().as_u16() {
        200 => serde_json::from_slice(answer.body())
            .map_err(|_| LoginError::Exchange(format!("{at} did not answer with JSON"))),
        status => Err(LoginError::Exchange(format!("{at} answered {status}"))),
    }
}

/// Unless the provider says that it did not check it.
fn verified_email(said: &Map<String, Value>) -> Option<String> {
    let is_verified = match said.get("email_verified") {
        None | Some(Value::Null) => true,
        Some(Value::String(word)) => word == "true",
        Some(value) => value == &Value::Bool(true),
    };
    named(said, "email").filter(|_| is_verified)
}

/// GitHub's list of addresses.
fn primary_verified(list: &Value) -> Option<String> {
    let is = |entry: &Value, key: &str| entry.get(key) == Some(&Value::Bool(true));
    let mut entries = list.as_array()?.iter();
    let entry = entries.find(|entry| is(entry, "primary") && is(entry, "verified"))?;
    named(entry.as_object()?, "email")
}
