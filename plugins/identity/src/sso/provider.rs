//! An identity provider that people log in through.

use std::sync::Arc;

use futures::future::BoxFuture;
use futures::lock::Mutex;
use http::{Request, Response};
use openidconnect::Nonce;
use thiserror::Error;
use turnpike_api::{Clock, Secret};
use url::Url;

use super::discovery::{self, Endpoints, Flow};
use super::exchange::Given;
use super::{LoginError, Offline, Person, Purpose, Seals, Tenants, Way};
use crate::jwt::KeyCache;

/// What was discovered is discovered again after so long.
const FRESH: u64 = 60 * 60 * 1000;

/// A provider that failed is left alone for so long.
const AFTER_FAILURE: u64 = 2_000;

/// The way out of the gateway.
pub trait Outside: Send + Sync {
    /// Makes a call, within bounds of time and size. Redirects are not followed.
    fn call(
        &self,
        request: Request<Vec<u8>>,
    ) -> BoxFuture<'_, Result<Response<Vec<u8>>, OutsideError>>;

    /// The keys of an issuer, which are at `jwks`.
    fn keys(&self, issuer: &str, jwks: &Url) -> Arc<KeyCache>;
}

/// Why there was no answer, in words for the log.
#[derive(Clone, Debug, Error)]
#[error("{0}")]
pub struct OutsideError(pub String);

/// How we are known to a provider.
#[derive(Clone)]
pub struct Client {
    pub id: String,
    pub secret: Secret,
    pub scopes: Vec<String>,
    pub offline: Offline,
    /// The claims that say groups and team.
    pub groups: String,
    pub team: String,
    /// Other claims that are to be kept, for roles to be bound by.
    pub claims: Box<[Box<str>]>,
}

/// What a browser brings back.
pub struct Returned<'r> {
    pub code: &'r str,
    pub state: &'r str,
    /// Who says so (RFC 9207).
    pub issuer: Option<&'r str>,
    /// Where it was sent back to.
    pub redirect_uri: &'r str,
}

/// Who logged in, and what their session can be renewed with.
pub struct Identified {
    pub person: Person,
    pub refresh: Option<Secret>,
}

/// What a provider answered that was asked to renew a session.
pub struct Renewed {
    /// What to ask with the next time, where it is another one.
    pub refresh: Option<Secret>,
    /// Who they are by now, if the rest of the answer is as it should be.
    pub person: Result<Person, LoginError>,
}

/// A provider.
pub struct Provider {
    /// Part of URLs.
    pub name: String,
    /// As people call it.
    pub label: String,
    pub(super) client: Client,
    pub(super) way: Way,
    found: Mutex<Found>,
}

#[derive(Default)]
struct Found {
    endpoints: Option<(Arc<Endpoints>, u64)>,
    failed: Option<(String, u64)>,
}

impl Provider {
    pub fn new(name: String, label: String, client: Client, way: Way) -> Self {
        Self {
            name,
            label,
            client,
            way,
            found: Mutex::default(),
        }
    }

    /// Where to send the browser, with what ties its return, to `redirect_uri`, to this login.
    pub async fn begin(
        &self,
        (state, redirect_uri): (&str, &str),
        seals: &Seals,
        outside: &dyn Outside,
        clock: &dyn Clock,
    ) -> Result<Url, LoginError> {
        let flow = self.flow(outside, clock.now()).await?;
        self.authorization_url(&flow, (state, redirect_uri), seals)
    }

    /// Who came back.
    pub async fn finish(
        &self,
        returned: Returned<'_>,
        seals: &Seals,
        outside: &dyn Outside,
        clock: Arc<dyn Clock>,
    ) -> Result<Identified, LoginError> {
        let verifier = seals.seal(Purpose::Verifier, returned.state);
        if let Some(flow) = self.way.plain()? {
            let given = self.exchange(&flow, &returned, verifier, outside);
            let given = given.await?;
            let person = self.person_of_userinfo(&given.access, outside).await?;
            let refresh = given.refresh;
            return Ok(Identified { person, refresh });
        }
        let endpoints = self.endpoints(outside, clock.now()).await?;
        refuse_another_issuer(&endpoints, returned.issuer)?;
        let given = self.exchange(&endpoints.flow, &returned, verifier, outside);
        let given = given.await?;
        let nonce = Nonce::new(seals.seal(Purpose::Nonce, returned.state));
        let person = self.person_of_token(&given, Some(&nonce), &endpoints, outside, clock);
        let (person, _) = person.await?;
        let refresh = given.refresh;
        Ok(Identified { person, refresh })
    }

    /// Asks whether a person is still known there, and as whom. What it answers with may be the only
    /// thing that the next renewal can be asked with, so it is to be kept whatever the check of the
    /// rest says.
    pub async fn renewed(
        &self,
        person: &Person,
        refresh: &Secret,
        outside: &dyn Outside,
        clock: Arc<dyn Clock>,
    ) -> Result<Renewed, LoginError> {
        if let Some(flow) = self.way.plain()? {
            let refresh = self.renew(&flow, refresh, outside).await?.refresh;
            let person = Ok(person.clone());
            return Ok(Renewed { refresh, person });
        }
        let endpoints = self.endpoints(outside, clock.now()).await?;
        refuse_former_issuer(&endpoints, &person.issuer)?;
        let given = self.renew(&endpoints.flow, refresh, outside).await?;
        let person = match &given.id_token {
            Some(_) => self.still(&given, person, &endpoints, outside, clock).await,
            // Without one they are who they were at their login.
            None => Ok(person.clone()),
        };
        Ok(Renewed {
            refresh: given.refresh,
            person,
        })
    }

    /// Who a person is by now. OpenID Connect Core 1.0, 12.2.
    async fn still(
        &self,
        given: &Given,
        person: &Person,
        endpoints: &Endpoints,
        outside: &dyn Outside,
        clock: Arc<dyn Clock>,
    ) -> Result<Person, LoginError> {
        let found = self.person_of_token(given, None, endpoints, outside, clock);
        let (found, is_complete) = found.await?;
        if (&found.issuer, &found.subject) != (&person.issuer, &person.subject) {
            return Err(LoginError::Exchange(
                "its ID token is another person's".into(),
            ));
        }
        // A userinfo that is away must not cost the renewal.
        // Whose they are, the provider does not know.
        let found = Person {
            tenant: person.tenant.clone(),
            ..found
        };
        Ok(if is_complete { found } else { person.clone() })
    }

    async fn flow(&self, outside: &dyn Outside, now: u64) -> Result<Flow, LoginError> {
        match self.way.plain()? {
            Some(flow) => Ok(flow),
            None => Ok(self.endpoints(outside, now).await?.flow.clone()),
        }
    }

    /// Those that are written, or known, or found out now. One asks; who comes meanwhile waits for
    /// what it learns.
    async fn endpoints(
        &self,
        outside: &dyn Outside,
        now: u64,
    ) -> Result<Arc<Endpoints>, LoginError> {
        let (issuer, tenants) = match &self.way {
            Way::Discovered { issuer, tenants } => (issuer, tenants.as_ref()),
            way => return Ok(Arc::new(way.written()?)),
        };
        let mut found = self.found.lock().await;
        if let Some((endpoints, at)) = &found.endpoints
            && now.saturating_sub(*at) < FRESH
        {
            return Ok(endpoints.clone());
        }
        let failed = found.failed.as_ref();
        let failed = failed.filter(|(_, at)| now.saturating_sub(*at) < AFTER_FAILURE);
        let discovered = match failed {
            Some((why, _)) => Err(why.clone()),
            None => discover(issuer, tenants, outside).await,
        };
        match (discovered, &found.endpoints) {
            (Ok(endpoints), _) => {
                let endpoints = Arc::new(endpoints);
                *found = Found {
                    endpoints: Some((endpoints.clone(), now)),
                    failed: None,
                };
                Ok(endpoints)
            }
            // What was true an hour ago is worth a try.
            (Err(_), Some((endpoints, _))) => Ok(endpoints.clone()),
            (Err(why), None) => {
                if found
                    .failed
                    .as_ref()
                    .is_none_or(|(_, at)| now.saturating_sub(*at) >= AFTER_FAILURE)
                {
                    found.failed = Some((why.clone(), now));
                }
                Err(LoginError::Unreachable(why))
            }
        }
    }
}

async fn discover(
    issuer: &Url,
    tenants: Option<&Tenants>,
    outside: &dyn Outside,
) -> Result<Endpoints, String> {
    let url = discovery::document_url(issuer);
    let request = Request::get(url.as_str()).body(Vec::new());
    let request = request.map_err(|error| error.to_string())?;
    let answer = outside.call(request).await.map_err(|error| error.0)?;
    match answer.status().as_u16() {
        200 => discovery::read(answer.body(), issuer, tenants),
        status => Err(format!("{url} answered {status}")),
    }
}

/// Somebody of an issuer, or of a directory, that is not taken any more: their session ends at its
/// time.
fn refuse_former_issuer(endpoints: &Endpoints, issuer: &str) -> Result<(), LoginError> {
    let (own, tenants) = (&endpoints.flow.issuer, &endpoints.tenants);
    let is_good = match tenants {
        None => issuer == own.as_str(),
        Some(tenants) => tenants.have(own, issuer),
    };
    match is_good {
        true => Ok(()),
        false => Err(LoginError::Exchange(
            "people of this issuer are not taken any more".into(),
        )),
    }
}

/// Another provider's answer under the name of this one (RFC 9207, 2.4).
fn refuse_another_issuer(endpoints: &Endpoints, named: Option<&str>) -> Result<(), LoginError> {
    let (issuer, tenants) = (&endpoints.flow.issuer, &endpoints.tenants);
    let is_good = match (named, tenants) {
        (Some(named), None) => named == issuer.as_str(),
        (Some(named), Some(tenants)) => tenants.have(issuer, named),
        (None, _) => !endpoints.names_itself,
    };
    match is_good {
        true => Ok(()),
        false => Err(LoginError::Exchange(
            "the answer is another issuer's (`iss`)".into(),
        )),
    }
}
