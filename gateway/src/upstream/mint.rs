//! Access tokens that a service account asks for: kept while they last, renewed by one call at a
//! time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::{HeaderName, Uri};
use http::{HeaderValue, Method, header};
use tokio::sync::Mutex;
use turnpike_api::{Account, Clock, Provider, Scheme};
use turnpike_credentials::{CredentialFile, GrantError, ServiceAccount, read_token};

use super::Endpoint;
use super::call::{self, CallError, Request};
use super::credential::Access;
use crate::clock::millis;
use crate::runtime::Runtime;

/// So long before its end a token is renewed: a call that begins with it must not outlive it
/// before it is accepted.
const LEAD: Duration = Duration::from_secs(60);

/// A token endpoint that failed is not asked again for so long.
const AFTER_FAILURE: Duration = Duration::from_secs(5);

/// What asks for one account's tokens.
pub struct Mint {
    account: ServiceAccount,
    /// Where tokens are asked for.
    at: Endpoint,
    /// What makes a token ready to be sent.
    plugin: Arc<dyn Provider>,
    calls: Endpoint,
    headers: Vec<(HeaderName, HeaderValue)>,
    minted: Arc<Tokens>,
}

/// One account's token. It outlives the configuration.
#[derive(Default)]
pub struct Tokens {
    current: ArcSwapOption<Token>,
    /// Held by the one who asks; holds when asking failed last, and why.
    asking: Mutex<Option<(u64, String)>>,
}

/// The tokens of all accounts, by the credentials' ids. A file that changed begins anew.
#[derive(Default)]
pub struct Purse(StdMutex<HashMap<String, (Arc<CredentialFile>, Arc<Tokens>)>>);

impl Purse {
    /// Those of the account that `file` holds.
    pub fn of(&self, id: &str, file: &Arc<CredentialFile>) -> Arc<Tokens> {
        let mut purse = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, tokens)) = purse.get(id)
            && Arc::ptr_eq(known, file)
        {
            return tokens.clone();
        }
        let tokens = Arc::<Tokens>::default();
        purse.insert(id.to_owned(), (file.clone(), tokens.clone()));
        tokens
    }
}

struct Token {
    access: Arc<Access>,
    expires_at: u64,
}

/// What a mint is made of.
pub struct Minting {
    pub account: ServiceAccount,
    pub at: Endpoint,
    pub plugin: Arc<dyn Provider>,
    pub calls: Endpoint,
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl Mint {
    pub fn new(minting: Minting, minted: Arc<Tokens>) -> Self {
        Self {
            account: minting.account,
            at: minting.at,
            plugin: minting.plugin,
            calls: minting.calls,
            headers: minting.headers,
            minted,
        }
    }

    /// A token that lasts; asked for when there is none.
    pub async fn access(&self, runtime: &Runtime) -> Result<Arc<Access>, CallError> {
        if let Some(access) = self.kept(runtime) {
            return Ok(access);
        }
        let mut failed = self.minted.asking.lock().await;
        // Somebody else may have asked meanwhile.
        if let Some(access) = self.kept(runtime) {
            return Ok(access);
        }
        let now = runtime.board.time.now();
        if let Some((at, why)) = &*failed
            && now < at.saturating_add(millis(AFTER_FAILURE))
        {
            return Err(self.broken(why));
        }
        match self.ask(runtime, now).await {
            Ok(token) => {
                let access = token.access.clone();
                self.minted.current.store(Some(Arc::new(token)));
                *failed = None;
                Ok(access)
            }
            Err(error) => {
                *failed = Some((now, error.to_string()));
                Err(error)
            }
        }
    }

    fn kept(&self, runtime: &Runtime) -> Option<Arc<Access>> {
        let token = self.minted.current.load();
        let token = token.as_ref()?;
        let lasts_until = token.expires_at.saturating_sub(millis(LEAD));
        (runtime.board.time.now() < lasts_until).then(|| token.access.clone())
    }

    async fn ask(&self, runtime: &Runtime, now: u64) -> Result<Token, CallError> {
        let refused = |error: GrantError| self.broken(&error.to_string());
        let form = self.account.token_request(now).map_err(refused)?;
        let url: Uri = form.url.as_str().parse().unwrap_or_default();
        let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
        let request = Request {
            method: Method::POST,
            path: url.path_and_query().map_or("/", |path| path.as_str()),
            headers: vec![(header::CONTENT_TYPE, kind)],
            body: Bytes::copy_from_slice(form.form_body.expose().as_bytes()),
        };
        let answer = call::send(&runtime.connections, &self.at, request).await?;
        let minted = read_token(now, answer.status, &answer.body).map_err(refused)?;
        let access = Access::new(
            &*self.plugin,
            &minted.access_token,
            Scheme::Bearer,
            &Account::default(),
            &self.calls,
            &self.headers,
        );
        let access = access.ok_or_else(|| self.broken("its token cannot stand in a header"))?;
        Ok(Token {
            access: Arc::new(access),
            expires_at: minted.expires_at,
        })
    }

    fn broken(&self, why: &str) -> CallError {
        CallError::Broken {
            endpoint: self.at.to_string(),
            why: why.to_owned(),
        }
    }
}
