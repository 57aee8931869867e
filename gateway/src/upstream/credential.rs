//! One upstream credential: what a call with it needs, and whether it may be used.

use std::iter;
use std::ops::Deref;
use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use turnpike_api::{Account, Fault, Provider, Scheme, Secret, Selector};
use turnpike_limits::Rule;
use zeroize::Zeroizing;

use super::Endpoint;
use super::call::CallError;
use super::mint::Mint;
use super::quota::Quota;
use super::roll;
use super::standing::{Readiness, Standing};
use crate::observe::metrics::CredentialMetrics;
use crate::runtime::Runtime;

/// A provider of the configuration.
pub struct Vendor {
    pub name: Arc<str>,
    /// As the configuration names its protocol.
    pub kind: Arc<str>,
    pub plugin: Arc<dyn Provider>,
    pub selector: Arc<dyn Selector>,
}

/// A credential of the configuration, ready to be used.
pub struct Credential {
    pub id: Arc<str>,
    pub vendor: Arc<Vendor>,
    pub endpoint: Endpoint,
    pub source: Source,
    /// Lower first.
    pub priority: i64,
    pub weight: u32,
    /// The operator's own headers, which replace the caller's of the same name.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// When its secret ends, in milliseconds since 1970; `u64::MAX` = not by itself.
    pub expires_at: u64,
    pub quota: Quota,
    /// What may be asked of it, whoever asks.
    pub caps: Vec<Rule>,
    pub standing: Arc<Standing>,
    pub metrics: CredentialMetrics,
}

/// Where a credential's secret comes from.
pub enum Source {
    /// It is written down.
    Fixed(Access),
    /// It is asked for, and lasts a while.
    Minted(Box<Mint>),
}

/// A secret for one call.
pub enum AccessGuard<'a> {
    Fixed(&'a Access),
    Minted(Arc<Access>),
}

impl Deref for AccessGuard<'_> {
    type Target = Access;

    fn deref(&self) -> &Access {
        match self {
            Self::Fixed(access) => access,
            Self::Minted(access) => access,
        }
    }
}

/// A secret, ready to be sent.
pub struct Access {
    pub secret: Secret,
    pub scheme: Scheme,
    /// The headers that carry it.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The header lines of every call, these among them, as HTTP/1 writes them.
    pub lines: Zeroizing<Vec<u8>>,
}

impl Access {
    /// `None` when the secret cannot stand in a header.
    pub fn new(
        plugin: &dyn Provider,
        secret: &Secret,
        scheme: Scheme,
        account: &Account,
        endpoint: &Endpoint,
        operators: &[(HeaderName, HeaderValue)],
    ) -> Option<Self> {
        let headers = plugin.credential_headers(secret, scheme, account)?;
        Some(Self {
            secret: secret.clone(),
            scheme,
            lines: lines(endpoint, &headers, operators),
            headers,
        })
    }
}

/// The header lines that are the same in every HTTP/1 call with the secret.
fn lines(
    endpoint: &Endpoint,
    secret: &[(HeaderName, HeaderValue)],
    operators: &[(HeaderName, HeaderValue)],
) -> Zeroizing<Vec<u8>> {
    let headers = secret.iter().chain(operators);
    let headers = headers.map(|(name, value)| (name.as_str(), value.as_bytes()));
    let parts: Vec<&[u8]> = iter::once(("host", endpoint.host().as_bytes()))
        .chain(headers)
        // A compressed answer could not be metered; nothing is lost inside a data centre.
        .chain(iter::once(("accept-encoding", &b"identity"[..])))
        .flat_map(|(name, value)| [name.as_bytes(), b": ", value, b"\r\n"])
        .collect();
    // In one piece of the right size: growing would leave the secret behind in pieces let go of.
    Zeroizing::new(parts.concat())
}

/// Whether a credential may be asked for a model, and what else it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Ready,
    /// One call may try whether it is well again.
    Due,
    Cooling(u64, Fault),
    Probing(u64, Fault),
    /// Its quota is spent until this time; `u64::MAX` = for good.
    Exhausted(u64),
    /// Its token is too old.
    Expired,
}

impl State {
    /// For an operator.
    pub fn words(self, now: u64) -> String {
        let seconds = |until: u64| until.saturating_sub(now).div_ceil(1000);
        match self {
            Self::Ready => "ready".into(),
            Self::Due => "ready, to be tried by one call".into(),
            Self::Cooling(until, fault) => {
                format!("{}, back in {} s", roll::cause(fault), seconds(until))
            }
            Self::Probing(_, fault) => format!("{}, being tried", roll::cause(fault)),
            Self::Exhausted(_) => "its quota is spent".into(),
            Self::Expired => "its token is too old".into(),
        }
    }

    pub fn is_ready(self) -> bool {
        matches!(self, Self::Ready | Self::Due)
    }

    /// When it is another one by itself.
    pub fn changes_at(self, credential: &Credential) -> u64 {
        match self {
            Self::Ready | Self::Due => credential.expires_at,
            Self::Cooling(until, _) | Self::Probing(until, _) | Self::Exhausted(until) => until,
            Self::Expired => u64::MAX,
        }
    }
}

impl Credential {
    /// Whether what calls use of it is limited.
    pub fn needs_usage(&self) -> bool {
        let mut caps = self.caps.iter();
        self.quota.limit.is_some() || caps.any(|rule| rule.limit.measure.is_of_usage())
    }

    /// Whether calls take nothing of it that is counted before they are made.
    pub fn is_uncapped(&self) -> bool {
        self.caps.is_empty() && self.quota.shared.is_none()
    }

    /// Its secret: at once, but for one that has to be asked for.
    pub async fn access<'a>(&'a self, runtime: &Runtime) -> Result<AccessGuard<'a>, CallError> {
        match &self.source {
            Source::Fixed(access) => Ok(AccessGuard::Fixed(access)),
            // Boxed: the future of a whole call would lie within that of every request.
            Source::Minted(mint) => Box::pin(mint.access(runtime))
                .await
                .map(AccessGuard::Minted),
        }
    }

    /// The provider refused this secret: one that was asked for is asked for anew.
    pub fn distrust(&self, access: &Access) {
        if let Source::Minted(mint) = &self.source {
            mint.forget(access);
        }
    }

    /// How it stands for a model.
    pub fn state(&self, model: &str, now: u64) -> State {
        if now >= self.expires_at {
            return State::Expired;
        }
        if let Some(reset) = self.exhausted(now) {
            return State::Exhausted(reset);
        }
        match self.standing.readiness(model, now) {
            Readiness::Ready => State::Ready,
            Readiness::Due => State::Due,
            Readiness::Cooling(until, fault) => State::Cooling(until, fault),
            Readiness::Probing(until, fault) => State::Probing(until, fault),
        }
    }

    /// Takes it for a call, as [`Standing::take`] does, if nothing else forbids it.
    pub fn take(&self, model: &str, now: u64, patience: u64) -> Option<bool> {
        if now >= self.expires_at || self.exhausted(now).is_some() {
            return None;
        }
        self.standing.take(model, now, patience)
    }

    /// When its quota begins anew, if it is spent.
    fn exhausted(&self, now: u64) -> Option<u64> {
        self.quota.limit?;
        self.begin_period(now);
        (!self.has_quota()).then(|| self.standing.allowance.running().end)
    }

    /// Begins the period of its quota that `now` is in, if it is another one.
    pub fn begin_period(&self, now: u64) {
        let allowance = &self.standing.allowance;
        if allowance.is_over(now) {
            let period = self.quota.schedule.period(now);
            let before = self.quota.spent_before(period.start_ms);
            let end = period.end_ms.unwrap_or(u64::MAX);
            allowance.begin(period.start_ms, end, 0, before);
        }
    }

    /// Whether something of its quota is left.
    pub fn has_quota(&self) -> bool {
        let spent = self.standing.allowance.spent();
        self.quota.limit.is_none_or(|limit| spent < limit)
    }

    /// Tokens left, what running calls are expected to use taken off.
    pub fn left(&self) -> u64 {
        self.standing.allowance.left_of(self.quota.limit)
    }
}
