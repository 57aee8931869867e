//! Where the keys of issuers come from: fetched from where each publishes them, and kept while
//! configurations change.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::Method;
use pingora::upstreams::peer::Peer;
use serde::Deserialize;
use turnpike_config::plan::{JwtIssuerPlan, ProxyChoice};
use turnpike_identity::jwt::{
    Algorithm, ClaimNames, FetchError, FetchKeys, Issuer, IssuerError, KeyCache,
};
use url::Url;

use crate::assemble::Ground;
use crate::assemble::egress::Egress;
use crate::observe::events::IssuerKeysFetched;
use crate::observe::metrics::Metrics;
use crate::upstream::call::{self, Request};
use crate::upstream::{Connections, Endpoint};

/// Where an issuer says where its keys are (OpenID Connect Discovery 1.0, section 4).
const DISCOVERY: &str = "/.well-known/openid-configuration";

/// The keys of all issuers, by where they are and the way there.
#[derive(Default)]
pub struct IssuersKeys(Mutex<HashMap<String, Arc<KeyCache>>>);

impl IssuersKeys {
    /// Those of an issuer: the ones that are known, where nothing about it has changed.
    pub fn of(&self, issuer: &JwtIssuerPlan, egress: &Egress, ground: &Ground) -> Arc<KeyCache> {
        let published = Published {
            issuer: issuer.issuer.clone(),
            url: issuer.url.clone(),
            jwks_url: issuer.jwks_url.clone(),
            egress: Mutex::new(egress.clone()),
            connections: ground.connections.clone(),
            metrics: ground.metrics.clone(),
        };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let clock = Arc::new(ground.board.time.clone());
        all.entry(published.name())
            .or_insert_with(|| Arc::new(KeyCache::new(Arc::new(published), clock)))
            .clone()
    }

    /// Of every issuer.
    pub fn all(&self) -> Vec<Arc<KeyCache>> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.values().cloned().collect()
    }

    /// Lets go of those that no configuration names any more.
    pub fn sweep(&self) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, keys| Arc::strong_count(keys) > 1);
    }
}

/// On what terms an issuer's tokens are taken. `others` are claims that roles are bound by.
pub fn terms(plan: &JwtIssuerPlan, others: &[Box<str>]) -> Result<Issuer, IssuerError> {
    let algorithms = plan.algorithms.iter();
    let algorithms = algorithms.filter_map(|name| name.parse::<Algorithm>().ok());
    let audiences = plan.audience.iter().map(|name| name.as_str().into());
    let issuer = Issuer::new(&*plan.issuer, audiences.collect(), algorithms.collect())?;
    Ok(issuer.with_claims(ClaimNames {
        groups: plan.claims.groups.as_str().into(),
        scopes: plan.claims.scopes.as_str().into(),
        email: plan.claims.email.as_str().into(),
        team: plan.claims.team.as_str().into(),
        others: others.into(),
    }))
}

/// What an issuer publishes.
struct Published {
    issuer: String,
    url: Url,
    jwks_url: Option<Url>,
    egress: Mutex<Egress>,
    connections: Arc<Connections>,
    metrics: Metrics,
}

#[derive(Deserialize)]
struct Discovered {
    issuer: String,
    jwks_uri: String,
}

impl FetchKeys for Published {
    fn fetch(&self) -> BoxFuture<'_, Result<Vec<u8>, FetchError>> {
        async {
            let fetched = match &self.jwks_url {
                Some(url) => self.get(url).await,
                None => match self.discover().await {
                    Ok(url) => self.get(&url).await,
                    Err(error) => Err(error),
                },
            };
            IssuerKeysFetched {
                issuer: &self.issuer,
                problem: fetched.as_ref().err(),
                metrics: &self.metrics,
            }
            .tell();
            fetched
        }
        .boxed()
    }
}

impl Published {
    /// Tells one from another whose keys, or whose way there, are others.
    fn name(&self) -> String {
        let at = self.jwks_url.as_ref().unwrap_or(&self.url);
        let way = self
            .endpoint(at)
            .map_or(0, |endpoint| endpoint.reuse_hash());
        let jwks_url = self.jwks_url.as_ref().map_or("", Url::as_str);
        format!("{} {jwks_url} {way:x}", self.issuer)
    }

    async fn discover(&self) -> Result<Url, FetchError> {
        let mut at = self.url.clone();
        at.set_path(&format!(
            "{}{DISCOVERY}",
            self.url.path().trim_end_matches('/')
        ));
        let document = self.get(&at).await?;
        let found: Discovered = serde_json::from_slice(&document)
            .map_err(|error| failed(format!("{at} is no discovery document: {error}")))?;
        if found.issuer != self.issuer {
            return Err(failed(format!(
                "{at} is another issuer's: it names {}",
                quoted(&found.issuer)
            )));
        }
        let keys = Url::parse(&found.jwks_uri);
        let keys = keys.map_err(|_| failed(format!("{at} names keys at what is no URL")))?;
        // What comes in clear text could be anybody's.
        match keys.scheme() == "https" || self.url.scheme() == "http" {
            true => Ok(keys),
            false => Err(failed(format!("{at} names keys that are not at https://"))),
        }
    }

    async fn get(&self, url: &Url) -> Result<Vec<u8>, FetchError> {
        let endpoint = self
            .endpoint(url)
            .map_err(|why| failed(format!("{url}: {why}")))?;
        let path = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        let request = Request {
            method: Method::GET,
            path: &path,
            headers: Vec::new(),
            body: Bytes::new(),
        };
        let answer = call::send(&self.connections, &endpoint, request).await;
        let answer = answer.map_err(|error| failed(error.to_string()))?;
        match answer.status {
            200 => Ok(answer.body.to_vec()),
            status => Err(failed(format!("{url} answered {status}"))),
        }
    }

    fn endpoint(&self, url: &Url) -> Result<Endpoint, String> {
        let mut egress = self.egress.lock().unwrap_or_else(PoisonError::into_inner);
        egress.endpoint(url, &ProxyChoice::Inherit)
    }
}

fn failed(why: String) -> FetchError {
    FetchError(why.into())
}

/// Somebody else's text, short enough for a log.
fn quoted(text: &str) -> String {
    format!("{:?}", text.chars().take(100).collect::<String>())
}
