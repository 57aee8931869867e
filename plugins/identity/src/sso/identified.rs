//! Who a person is, as their provider says.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::Request;
use http::header::{ACCEPT, AUTHORIZATION};
use openidconnect::Nonce;
use serde_json::{Map, Value};
use turnpike_api::{Claim, Clock, Secret};
use url::Url;

use super::discovery::Endpoints;
use super::exchange::Given;

use super::{LoginError, Outside, Person, Provider, Way};
use crate::jwt::{named, names, others};

impl Provider {
    /// Of an ID token, which is checked as a whole: a login with one that fails is none. False beside
    /// it = userinfo would say more of them, and did not answer.
    pub(super) async fn person_of_token(
        &self,
        given: &Given,
        nonce: Option<&Nonce>,
        endpoints: &Endpoints,
        outside: &dyn Outside,
        clock: Arc<dyn Clock>,
    ) -> Result<(Person, bool), LoginError> {
        let claims = self.claims(given, nonce, endpoints, outside, clock);
        let claims = claims.await?;
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
            claims: kept(claims.others),
            tenant: None,
        };
        // Many providers say in the token only who it is. An address that a tenant gives is vouched
        // for there, or not at all.
        let mut is_complete = true;
        if person.email.is_none()
            && claims.email.is_none()
            && endpoints.tenants.is_none()
            && let Some(userinfo) = &endpoints.userinfo
        {
            let said = ask(userinfo, &given.access, outside).await;
            is_complete = said.is_ok();
            self.complete(&mut person, said);
        }
        Ok((person, is_complete))
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
        for (name, values) in kept(others(&said, &self.client.claims)) {
            person.claims.entry(name).or_insert(values);
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
            claims: kept(others(&said, &self.client.claims)),
            tenant: None,
        })
    }
}

/// As they are stored.
fn kept(claims: Vec<Claim>) -> BTreeMap<String, Vec<String>> {
    let values = |values: Vec<Box<str>>| values.into_iter().map(String::from).collect();
    let claims = claims.into_iter();
    claims
        .map(|claim| (claim.name.into(), values(claim.values)))
        .collect()
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
