//! Access tokens that a service account asks for: kept while they last, renewed by one call at a
//! time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex as StdMutex, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Uri, header};
use tokio::sync::{Mutex, MutexGuard};
use turnpike_api::{Account, Clock, Provider, Scheme, Secret};
use turnpike_credentials::{CredentialFile, GrantError, ServiceAccount, read_token};

use super::Endpoint;
use super::call::{self, CallError, Request};
use super::credential::Access;
use crate::clock::millis;
use crate::observe::events::CredentialRefreshed;
use crate::runtime::Runtime;

/// So long before its end a token is renewed, or from half of its life on.
const LEAD: Duration = Duration::from_secs(60);

/// So long before its end a token is not used any more: a call that begins with it must not
/// outlive it before it is accepted.
const LAST: Duration = Duration::from_secs(5);

/// A token endpoint that failed is not asked again for so long. How long the account is left alone
/// is for its cooldown to say; this is for the calls that were waiting all the while.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// What asks for one account's tokens.
pub struct Mint {
    minting: Minting,
    minted: Arc<Tokens>,
    /// The current token as this configuration sends it.
    ready: ArcSwapOption<Ready>,
}

/// What a mint is made of.
pub struct Minting {
    /// The provider's name.
    pub provider: Arc<str>,
    /// The credential's.
    pub id: Arc<str>,
    pub account: ServiceAccount,
    /// Where tokens are asked for.
    pub at: Endpoint,
    /// What makes a token ready to be sent.
    pub plugin: Arc<dyn Provider>,
    pub calls: Endpoint,
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// One account's token. It outlives the configuration.
#[derive(Default)]
pub struct Tokens {
    current: ArcSwapOption<Token>,
    /// Held by the one who asks; holds how asking failed last.
    asking: Mutex<Option<Failure>>,
}

struct Token {
    secret: Secret,
    /// From when on another one is asked for.
    renew_at: u64,
    /// From when on it is not used.
    last: u64,
}

struct Ready {
    token: Arc<Token>,
    access: Arc<Access>,
}

struct Failure {
    at: u64,
    why: String,
    is_refusal: bool,
}

/// The tokens of all accounts, by the credentials' ids. A file that changed begins anew; one that
/// is gone takes its tokens with it.
#[derive(Default)]
pub struct Purse(StdMutex<HashMap<String, Held>>);

struct Held {
    file: Weak<CredentialFile>,
    tokens: Arc<Tokens>,
}

impl Purse {
    /// Lets go of the tokens of files that are gone.
    pub fn sweep(&self) {
        let mut purse = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        purse.retain(|_, held| held.file.strong_count() > 0);
    }

    /// Those of the account that `file` holds.
    pub fn of(&self, id: &str, file: &Arc<CredentialFile>) -> Arc<Tokens> {
        let mut purse = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = purse.get(id)
            && held.file.as_ptr() == Arc::as_ptr(file)
        {
            return held.tokens.clone();
        }
        let tokens = Arc::<Tokens>::default();
        let held = Held {
            file: Arc::downgrade(file),
            tokens: tokens.clone(),
        };
        purse.insert(id.to_owned(), held);
        tokens
    }
}

impl Mint {
    pub fn new(minting: Minting, minted: Arc<Tokens>) -> Self {
        Self {
            minting,
            minted,
            ready: ArcSwapOption::empty(),
        }
    }

    /// A token that lasts; asked for when there is none.
    pub async fn access(&self, runtime: &Runtime) -> Result<Arc<Access>, CallError> {
        let now = runtime.board.time.now();
        let usable = self.kept(|token| now < token.last);
        match &usable {
            Some(token) if now < token.renew_at => self.ready(token),
            Some(token) => match self.minted.asking.try_lock() {
                // Somebody asks already, and this one is still good.
                Err(_) => self.ready(token),
                Ok(failed) => {
                    let renewed = self.renewed(runtime, failed).await;
                    renewed.or_else(|_| self.ready(token))
                }
            },
            None => self.renewed(runtime, self.minted.asking.lock().await).await,
        }
    }

    /// Lets go of a token, if it is still the one in use.
    pub fn forget(&self, access: &Access) {
        let current = self.minted.current.load();
        if let Some(token) = &*current
            && token.secret == access.secret
        {
            self.minted.current.compare_and_swap(&current, None);
        }
    }

    /// A fresh token: somebody else's by now, or one that is asked for.
    async fn renewed(
        &self,
        runtime: &Runtime,
        mut failed: MutexGuard<'_, Option<Failure>>,
    ) -> Result<Arc<Access>, CallError> {
        let now = runtime.board.time.now();
        if let Some(token) = self.kept(|token| now < token.renew_at) {
            return self.ready(&token);
        }
        if let Some(failure) = &*failed
            && now < failure.at.saturating_add(millis(AFTER_FAILURE))
        {
            return Err(self.broken(&failure.why, failure.is_refusal));
        }
        match self.ask(runtime, now).await {
            Ok(token) => {
                *failed = None;
                self.told(runtime, None);
                let token = Arc::new(token);
                self.minted.current.store(Some(token.clone()));
                self.ready(&token)
            }
            Err(error) => {
                self.told(runtime, Some(&error.to_string()));
                *failed = Some(Failure {
                    at: runtime.board.time.now(),
                    is_refusal: matches!(error, CallError::Refused { .. }),
                    why: match &error {
                        CallError::Broken { why, .. } | CallError::Refused { why, .. } => {
                            why.clone()
                        }
                        other => other.to_string(),
                    },
                });
                Err(error)
            }
        }
    }

    fn told(&self, runtime: &Runtime, error: Option<&str>) {
        CredentialRefreshed {
            provider: &self.minting.provider,
            credential: &self.minting.id,
            error,
            metrics: &runtime.metrics,
            audit: &runtime.audit,
        }
        .tell();
    }

    fn kept(&self, is_good: impl Fn(&Token) -> bool) -> Option<Arc<Token>> {
        self.minted
            .current
            .load_full()
            .filter(|token| is_good(token))
    }

    /// The token as this configuration sends it. Another one may send it elsewhere, and with other
    /// headers beside it.
    fn ready(&self, token: &Arc<Token>) -> Result<Arc<Access>, CallError> {
        if let Some(ready) = &*self.ready.load()
            && Arc::ptr_eq(&ready.token, token)
        {
            return Ok(ready.access.clone());
        }
        let access = Access::new(
            &*self.minting.plugin,
            &token.secret,
            Scheme::Bearer,
            &Account::default(),
            &self.minting.calls,
            &self.minting.headers,
        );
        let access = access.ok_or_else(|| self.broken("its token cannot stand in a header", false));
        let access = Arc::new(access?);
        self.ready.store(Some(Arc::new(Ready {
            token: token.clone(),
            access: access.clone(),
        })));
        Ok(access)
    }

    async fn ask(&self, runtime: &Runtime, now: u64) -> Result<Token, CallError> {
        let failed = |error: GrantError| {
            let is_refusal = matches!(error, GrantError::Refused(_));
            self.broken(&error.to_string(), is_refusal)
        };
        let form = self.minting.account.token_request(now).map_err(failed)?;
        let url: Uri = form.url.as_str().parse().unwrap_or_default();
        let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
        let request = Request {
            method: Method::POST,
            path: url.path_and_query().map_or("/", |path| path.as_str()),
            headers: vec![(header::CONTENT_TYPE, kind)],
            body: Bytes::copy_from_slice(form.form_body.expose().as_bytes()),
        };
        let answer = call::send(&runtime.connections, &self.minting.at, request).await?;
        let minted = read_token(now, answer.status, &answer.body).map_err(failed)?;
        let life = minted.expires_at.saturating_sub(now);
        Ok(Token {
            secret: minted.access_token,
            renew_at: minted.expires_at - millis(LEAD).min(life / 2),
            last: minted.expires_at - millis(LAST).min(life / 2),
        })
    }

    fn broken(&self, why: &str, is_refusal: bool) -> CallError {
        let endpoint = self.minting.at.to_string();
        let why = why.to_owned();
        match is_refusal {
            true => CallError::Refused { endpoint, why },
            false => CallError::Broken { endpoint, why },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_stay_with_a_version_of_a_file_and_go_with_it() {
        let file = || {
            let file = turnpike_credentials::parse("robot", br#"{"token":"any"}"#);
            Arc::new(file.ok().unwrap())
        };
        let (purse, first) = (Purse::default(), file());
        let tokens = purse.of("a", &first);
        assert!(Arc::ptr_eq(&tokens, &purse.of("a", &first)));
        assert!(!Arc::ptr_eq(&tokens, &purse.of("b", &first)));
        let second = file();
        assert!(!Arc::ptr_eq(&tokens, &purse.of("a", &second)));
        let gone = Arc::downgrade(&purse.of("b", &first));
        drop(first);
        assert!(gone.upgrade().is_some(), "nobody has looked yet");
        purse.sweep();
        assert!(gone.upgrade().is_none());
    }
}
