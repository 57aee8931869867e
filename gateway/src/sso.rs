//! Single sign-on, as one configuration has it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::header::ACCEPT;
use http::{Request, Response};
use turnpike_api::Keyring;
use turnpike_config::plan::{
    ClaimNamesPlan, JwtIssuerPlan, LoginModePlan, LoginWayPlan, OfflinePlan, Plan, ProxyChoice,
    SecretKey, SsoPlan, SsoProviderPlan,
};
use turnpike_identity::agent_tokens::Costs;
use turnpike_identity::jwt::KeyCache;
use turnpike_identity::sso::authorization::{Denied, Granted, Question};
use turnpike_identity::sso::{
    Client, LoginLinks, LoginRate, Marker, Offline, Outside, OutsideError, Person, Provider, Seals,
    Tenants, Way,
};
use url::Url;

use crate::assemble::Ground;
use crate::assemble::access;
use crate::assemble::egress::Egress;
use crate::authorization;
use crate::encryption;
use crate::token_entry::costs;
use crate::upstream::call;
use crate::upstream::roll::time;

/// How people log in.
pub struct Sso {
    /// In order of names.
    pub providers: Vec<Arc<Provider>>,
    pub mode: LoginModePlan,
    pub rate: LoginRate,
    /// How long a session lasts.
    pub lifetime: Duration,
    /// So long before its end a session is renewed; `None` = it is not.
    pub renewal_lead: Option<Duration>,
    pub seals: Arc<Seals>,
    /// Of the refresh tokens that sessions are renewed with.
    pub keyring: Keyring,
    /// Agents of callers who are not known are answered by a model that tells where to sign in.
    pub sandbox: bool,
    /// Knows the text of those answers again.
    pub marker: Marker,
    /// Links that a caller without a session is given.
    pub links: LoginLinks,
    /// Browsers reach us over TLS.
    pub is_secure: bool,
    /// What the hash of a new agent token costs.
    pub costs: Costs,
    pub outside: Arc<WayOut>,
}

/// What the logins of all tenants have in common.
pub struct Logins<'p> {
    plan: &'p Plan,
    key: &'p SecretKey,
    seals: Arc<Seals>,
    claims: Vec<Box<str>>,
    outside: Arc<WayOut>,
}

impl<'p> Logins<'p> {
    /// As configured; nothing is called.
    pub fn new(plan: &'p Plan, key: &'p SecretKey, outside: &Arc<WayOut>) -> Self {
        Self {
            plan,
            key,
            seals: Arc::new(Seals::new(key.bytes())),
            claims: access::claims(plan),
            outside: outside.clone(),
        }
    }

    /// Those that somebody has of their own.
    pub fn providers(&self, sso: &SsoPlan) -> Vec<Arc<Provider>> {
        let providers = sso.providers.iter();
        let providers = providers.map(|one| Arc::new(provider(one, sso, &self.claims)));
        providers.collect()
    }
}

impl Sso {
    /// Of these providers.
    pub fn new(sso: &SsoPlan, providers: Vec<Arc<Provider>>, logins: &Logins<'_>) -> Self {
        let (plan, seals) = (logins.plan, &logins.seals);
        let public_url = plan.server.public_url.as_str().trim_end_matches('/');
        let rate = sso.authorization.rate;
        Self {
            providers,
            mode: sso.authorization.mode.clone(),
            rate: LoginRate {
                attempts: rate.attempts,
                multiplier: rate.multiplier,
                max: rate.max,
            },
            lifetime: sso.session_lifetime,
            renewal_lead: sso.renewal_lead,
            sandbox: sso.sandbox,
            marker: Marker::new(seals.clone()),
            links: LoginLinks::new(seals.clone(), public_url),
            seals: seals.clone(),
            keyring: encryption::of_store(plan, logins.key),
            is_secure: plan.server.public_url.scheme() == "https",
            costs: costs(plan.agent_tokens.argon2),
            outside: logins.outside.clone(),
        }
    }

    /// Asks the authorization API about a person, a provider's name and an address.
    pub async fn ask(
        &self,
        (person, provider, client): (&Person, &str, String),
        api: &Url,
        patience: Duration,
        now: u64,
    ) -> Result<Granted, Denied> {
        let question = Question {
            user_email: person.email.as_deref(),
            user_id: &person.subject,
            client_ip: client,
            provider,
            timestamp: time(now),
        };
        authorization::ask(&question, api, patience, &self.outside).await
    }

    pub fn provider(&self, name: &str) -> Option<&Provider> {
        let mut providers = self.providers.iter();
        let found = providers.find(|provider| provider.name == name);
        found.map(Arc::as_ref)
    }
}

fn provider(plan: &SsoProviderPlan, sso: &SsoPlan, claims: &[Box<str>]) -> Provider {
    let client = Client {
        id: plan.client_id.clone(),
        secret: plan.client_secret.clone(),
        scopes: plan.scopes.clone(),
        offline: match plan.offline {
            OfflinePlan::Scope => Offline::Scope,
            OfflinePlan::Consent => Offline::Consent,
            OfflinePlan::AccessType => Offline::AccessType,
        },
        groups: sso.claims.groups.clone(),
        team: sso.claims.team.clone(),
        claims: claims.into(),
    };
    let way = match plan.way.clone() {
        LoginWayPlan::Discovered { issuer, tenants } => Way::Discovered {
            issuer,
            tenants: tenants.map(Tenants::new),
        },
        LoginWayPlan::Written {
            issuer,
            authorize,
            token,
            jwks,
        } => Way::Written {
            issuer,
            authorize,
            token,
            jwks,
        },
        LoginWayPlan::OAuth2 {
            authorize,
            token,
            userinfo,
            emails,
        } => Way::OAuth2 {
            authorize,
            token,
            userinfo,
            emails,
        },
    };
    Provider::new(plan.name.clone(), plan.label.clone(), client, way)
}

/// Calls of logins, and to authorization APIs, by the ways that calls leave this gateway.
pub struct WayOut {
    egress: Mutex<Egress>,
    ground: Ground,
    /// Held, so that they are not swept while this configuration is in force.
    keys: Mutex<HashMap<(String, Url), Arc<KeyCache>>>,
}

impl WayOut {
    /// By the ways of one configuration.
    pub fn new(egress: &Egress, ground: &Ground) -> Self {
        Self {
            egress: Mutex::new(egress.clone()),
            ground: ground.clone(),
            keys: Mutex::default(),
        }
    }
}

impl Outside for WayOut {
    fn call(
        &self,
        request: Request<Vec<u8>>,
    ) -> BoxFuture<'_, Result<Response<Vec<u8>>, OutsideError>> {
        async move {
            let (head, body) = request.into_parts();
            let failed = |why: String| OutsideError(why);
            let url = Url::parse(&head.uri.to_string());
            let url = url.map_err(|error| failed(error.to_string()))?;
            let endpoint = {
                let mut egress = self.egress.lock().unwrap_or_else(PoisonError::into_inner);
                egress
                    .endpoint(&url, &ProxyChoice::Inherit)
                    .map_err(failed)?
            };
            let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
            let mut headers = Vec::new();
            for (name, value) in &head.headers {
                // Every call of ours says that it takes JSON.
                if name != ACCEPT {
                    headers.push((name.clone(), value.clone()));
                }
            }
            let request = call::Request {
                method: head.method,
                path,
                headers,
                body: Bytes::from(body),
            };
            let answer = call::send(&self.ground.connections, &endpoint, request).await;
            let answer = answer.map_err(|error| failed(error.to_string()))?;
            let response = Response::builder().status(answer.status);
            let response = response.body(answer.body.to_vec());
            response.map_err(|error| failed(error.to_string()))
        }
        .boxed()
    }

    fn keys(&self, issuer: &str, jwks: &Url) -> Arc<KeyCache> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let found = keys.entry((issuer.to_owned(), jwks.clone()));
        let made = || {
            let egress = self.egress.lock().unwrap_or_else(PoisonError::into_inner);
            let published = published(issuer, jwks);
            self.ground
                .issuers_keys
                .of(&published, &egress, &self.ground)
        };
        found.or_insert_with(made).clone()
    }
}

/// An issuer, as far as its keys go.
fn published(issuer: &str, jwks: &Url) -> JwtIssuerPlan {
    JwtIssuerPlan {
        issuer: issuer.to_owned(),
        url: jwks.clone(),
        audience: Vec::new(),
        jwks_url: Some(jwks.clone()),
        algorithms: Vec::new(),
        claims: ClaimNamesPlan {
            groups: String::new(),
            scopes: String::new(),
            email: String::new(),
            team: String::new(),
        },
        tenant: None,
    }
}
