//! What is asked of a gateway, and what it answers (RFC 8414, RFC 8628).

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::header::RETRY_AFTER;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use turnpike_api::Secret;
use ureq::Agent;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use zeroize::Zeroizing;

/// What the gateway is told that asks.
const CLIENT: &str = "turnpike-login";

const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// A gateway is at the root of its host, and so is what it says of itself (RFC 8414, 3).
const METADATA: &str = "/.well-known/oauth-authorization-server";

/// No answer of a gateway is longer.
const LONGEST: u64 = 64 << 10;

/// A call that takes longer is tried again.
const PATIENCE: Duration = Duration::from_secs(20);

/// Why a gateway gave no answer that is of use.
#[derive(Debug, Error)]
pub enum ClientError {
    #[error("cannot read certificates from {}: {why}", path.display())]
    Certificates { path: PathBuf, why: String },
    #[error("cannot reach {url}: {why}{remedy}")]
    Unreachable {
        url: String,
        why: String,
        remedy: &'static str,
    },
    #[error(
        "{0} offers no device login: is it the gateway's address, and has it single sign-on (`sso.enabled`)?"
    )]
    NoGateway(String),
    #[error("the gateway at {asked} calls itself {said}: run `turnpike login {said}`")]
    Issuer { asked: String, said: String },
    #[error("the gateway at {0} wants to be called at another address than its own")]
    Elsewhere(String),
    #[error("{url} gave an answer that is none of a device login (status {status})")]
    Garbled { url: String, status: u16 },
    #[error("the gateway refused: {0}")]
    Refused(String),
}

impl ClientError {
    /// Whether it may be over in a moment.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Garbled { status, .. } => *status >= 500,
            _ => false,
        }
    }
}

/// Calls gateways.
pub(super) struct Client(Agent);

/// Where a gateway wants to be called.
#[derive(Deserialize)]
pub(super) struct Found {
    issuer: String,
    device_authorization_endpoint: String,
    token_endpoint: String,
}

/// What there is to type, and to poll with.
#[derive(Deserialize)]
pub(super) struct Asked {
    device_code: Zeroizing<String>,
    pub(super) user_code: String,
    pub(super) verification_uri: String,
    pub(super) verification_uri_complete: Option<String>,
    /// Seconds.
    pub(super) expires_in: u64,
    /// Seconds.
    #[serde(default = "five")]
    pub(super) interval: u64,
}

fn five() -> u64 {
    5
}

/// A token, and what was said of it.
pub(super) struct Given {
    pub(super) token: Secret,
    pub(super) id: Option<String>,
    pub(super) name: String,
    pub(super) person: Option<String>,
    pub(super) session_expires_at: Option<String>,
}

/// What a poll comes to.
pub(super) enum Polled {
    Given(Given),
    Pending,
    SlowDown,
    Denied,
    Expired,
    /// After so many seconds, where it says.
    Later(Option<u64>),
}

#[derive(Deserialize)]
struct Token {
    access_token: Zeroizing<String>,
    token_id: Option<String>,
    token_name: Option<String>,
    person: Option<String>,
    session_expires_at: Option<String>,
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
    error_description: Option<String>,
}

struct Answer {
    url: String,
    status: u16,
    retry_after: Option<u64>,
    body: Zeroizing<Vec<u8>>,
}

impl Client {
    /// Trusts what the system does, and the certificates of this file. Calls that stay on this machine
    /// do not go by the proxy that the environment names.
    pub(super) fn new(ca_file: Option<&Path>, stays_here: bool) -> Result<Self, ClientError> {
        let mut roots: Vec<Certificate<'static>> = rustls_native_certs::load_native_certs()
            .certs
            .iter()
            .map(|found| Certificate::from_der(found).to_owned())
            .collect();
        if let Some(path) = ca_file {
            roots.extend(certificates(path)?);
        }
        let ring = Arc::new(rustls::crypto::ring::default_provider());
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::Specific(Arc::new(roots)))
            .unversioned_rustls_crypto_provider(ring)
            .build();
        let config = Agent::config_builder()
            .tls_config(tls)
            .timeout_global(Some(PATIENCE))
            .http_status_as_error(false)
            // Nobody sends a code or a token anywhere else.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("turnpike/", env!("CARGO_PKG_VERSION")));
        let config = match stays_here {
            true => config.proxy(None).build(),
            false => config.build(),
        };
        Ok(Self(config.new_agent()))
    }

    /// The endpoints of the gateway at this address.
    pub(super) fn discover(&self, url: &str) -> Result<Found, ClientError> {
        let answer = self.get(&format!("{url}{METADATA}"))?;
        if answer.status != 200 {
            return Err(ClientError::NoGateway(url.to_owned()));
        }
        let found: Option<Found> = serde_json::from_slice(&answer.body).ok();
        let found = found.ok_or_else(|| ClientError::NoGateway(url.to_owned()))?;
        // RFC 8414, 3.3: who claims to be somebody else is not to be believed.
        if found.issuer.trim_end_matches('/') != url {
            // It is to be copied into a shell.
            let is_plain = |c: &char| c.is_ascii_alphanumeric() || "-._~%/:[]".contains(*c);
            let said = found.issuer.chars().filter(is_plain).take(200).collect();
            return Err(ClientError::Issuer {
                asked: url.to_owned(),
                said,
            });
        }
        let is_known = found.has(&found.device_authorization_endpoint);
        match is_known && found.has(&found.token_endpoint) {
            true => Ok(found),
            false => Err(ClientError::Elsewhere(url.to_owned())),
        }
    }

    /// Asks for codes.
    pub(super) fn ask(&self, found: &Found, agent: &str) -> Result<Asked, ClientError> {
        let fields = [("client_id", CLIENT), ("agent", agent)];
        let answer = self.post(&found.device_authorization_endpoint, &fields)?;
        match answer.status {
            200 => found.checked(answer.read().map(Asked::plain)?),
            _ => Err(ClientError::Refused(answer.refusal()?.said())),
        }
    }

    /// Asks for the answer.
    pub(super) fn poll(&self, found: &Found, asked: &Asked) -> Result<Polled, ClientError> {
        let fields = [
            ("grant_type", GRANT),
            ("device_code", &asked.device_code),
            ("client_id", CLIENT),
        ];
        let answer = self.post(&found.token_endpoint, &fields)?;
        if answer.status == 200 {
            let token: Token = answer.read()?;
            if !is_token(&token.access_token) {
                return Err(answer.garbled());
            }
            return Ok(Polled::Given(Given {
                token: Secret::new(token.access_token.as_str()),
                name: plain(&token.token_name.unwrap_or_else(|| "agent token".into())),
                id: token.token_id.as_deref().map(plain),
                person: token.person.as_deref().map(plain),
                session_expires_at: token.session_expires_at.as_deref().map(plain),
            }));
        }
        if answer.status == 429 || answer.status >= 500 {
            return Ok(Polled::Later(answer.retry_after));
        }
        let refusal = answer.refusal()?;
        match refusal.error.as_str() {
            "authorization_pending" => Ok(Polled::Pending),
            "slow_down" => Ok(Polled::SlowDown),
            "access_denied" => Ok(Polled::Denied),
            "expired_token" => Ok(Polled::Expired),
            _ => Err(ClientError::Refused(refusal.said())),
        }
    }

    fn get(&self, url: &str) -> Result<Answer, ClientError> {
        let sent = self.0.get(url).header("accept", "application/json").call();
        answered(url, sent)
    }

    fn post(&self, url: &str, fields: &[(&str, &str)]) -> Result<Answer, ClientError> {
        let sent = self.0.post(url).header("accept", "application/json");
        answered(url, sent.send_form(fields.iter().copied()))
    }
}

impl Answer {
    fn read<T: DeserializeOwned>(&self) -> Result<T, ClientError> {
        serde_json::from_slice(&self.body).map_err(|_| self.garbled())
    }

    fn garbled(&self) -> ClientError {
        ClientError::Garbled {
            url: self.url.clone(),
            status: self.status,
        }
    }

    fn refusal(&self) -> Result<Refusal, ClientError> {
        self.read()
    }
}

impl Refusal {
    /// As the gateway says it.
    fn said(self) -> String {
        plain(&self.error_description.unwrap_or(self.error))
    }
}

impl Asked {
    fn plain(self) -> Self {
        Self {
            user_code: plain(&self.user_code),
            verification_uri: plain(&self.verification_uri),
            verification_uri_complete: self.verification_uri_complete.as_deref().map(plain),
            ..self
        }
    }
}

impl Found {
    /// A person is sent to the gateway's own pages only.
    fn checked(&self, asked: Asked) -> Result<Asked, ClientError> {
        let whole = asked.verification_uri_complete.as_deref();
        match self.has(&asked.verification_uri) && whole.is_none_or(|page| self.has(page)) {
            true => Ok(asked),
            false => Err(ClientError::Elsewhere(self.issuer.clone())),
        }
    }

    /// Whether an address is one of the gateway's.
    fn has(&self, url: &str) -> bool {
        let rest = url.strip_prefix(self.issuer.trim_end_matches('/'));
        rest.is_some_and(|rest| rest.starts_with('/'))
    }
}

/// It is written into files and shown to be copied into a shell: what RFC 6750, 2.1, allows.
fn is_token(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    (1..=512).contains(&text.len()) && text.bytes().all(allowed)
}

/// Without what could play tricks on a terminal.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(300).collect()
}

fn answered(
    url: &str,
    sent: Result<http::Response<ureq::Body>, ureq::Error>,
) -> Result<Answer, ClientError> {
    let unreachable = |error: ureq::Error| {
        let why = error.to_string();
        let remedy = match why.contains("certificate") || why.contains("UnknownIssuer") {
            true => "; is its certificate of a private CA? --ca-file names it",
            false => "",
        };
        ClientError::Unreachable {
            url: url.to_owned(),
            why,
            remedy,
        }
    };
    let mut response = sent.map_err(unreachable)?;
    let body = response.body_mut().with_config().limit(LONGEST);
    let body = Zeroizing::new(body.read_to_vec().map_err(unreachable)?);
    let after = response.headers().get(RETRY_AFTER);
    let after = after.and_then(|after| after.to_str().ok()?.parse().ok());
    Ok(Answer {
        url: url.to_owned(),
        status: response.status().as_u16(),
        retry_after: after,
        body,
    })
}

fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>, ClientError> {
    let failed = |why: String| ClientError::Certificates {
        path: path.to_owned(),
        why,
    };
    let pem = fs::read(path).map_err(|error| failed(error.to_string()))?;
    let mut found = Vec::new();
    for item in parse_pem(&pem) {
        match item {
            Ok(PemItem::Certificate(one)) => found.push(one),
            Ok(_) => {}
            Err(error) => return Err(failed(error.to_string())),
        }
    }
    match found.is_empty() {
        true => Err(failed("it holds no PEM certificate".into())),
        false => Ok(found),
    }
}
