//! Google service accounts: a signed assertion (RFC 7523) is exchanged for an access token of an
//! hour. What to send and what an answer means; the gateway does the sending.

mod answer;
mod assertion;

use std::sync::Arc;

use ring::signature::RsaKeyPair;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use thiserror::Error;
use turnpike_api::Secret;
use url::{Host, Url};

use crate::file::{Fields, FileError, check_name, check_project, check_secret};

pub use answer::{Minted, read_token};

/// Where Google mints tokens.
const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";

const BAD_KEY: &str = "not an RSA private key in PEM of at least 2048 bits";
const BAD_URI: &str = "expected an https URL (http on this machine only)";

/// An account that is no person, and the key that speaks for it.
#[derive(Clone)]
pub struct ServiceAccount {
    client_email: String,
    private_key: Arc<RsaKeyPair>,
    private_key_id: Option<String>,
    project_id: Option<String>,
    token_uri: Url,
}

/// A form to post to `url` as `application/x-www-form-urlencoded`.
pub struct TokenRequest {
    pub url: Url,
    pub form_body: Secret,
}

/// Why there is no token.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum GrantError {
    /// Asking again with the same account gives the same answer.
    #[error("the service account is refused: {0}")]
    Refused(&'static str),
    /// Asking again later may help.
    #[error("the token endpoint is in trouble: {what} (status {status})")]
    Trouble { what: &'static str, status: u16 },
    #[error("the assertion cannot be signed")]
    Signing,
}

impl ServiceAccount {
    /// The key is parsed here, so that a bad one is the file's error and not a request's.
    pub(crate) fn read(fields: &Fields<'_>) -> Result<Self, FileError> {
        let missing = |key| fields.wrong(key, "missing in the service account");
        let client_email = fields.checked("client_email", check_name)?;
        let pem = fields.text("private_key")?;
        let private_key = private_key(pem.ok_or_else(|| missing("private_key"))?);
        let token_uri = token_uri(fields.text("token_uri")?.unwrap_or(TOKEN_URI));
        Ok(Self {
            client_email: client_email.ok_or_else(|| missing("client_email"))?,
            private_key: private_key.ok_or_else(|| fields.wrong("private_key", BAD_KEY))?,
            private_key_id: fields.checked("private_key_id", check_secret)?,
            project_id: fields.checked("project_id", check_project)?,
            token_uri: token_uri.ok_or_else(|| fields.wrong("token_uri", BAD_URI))?,
        })
    }

    pub fn client_email(&self) -> &str {
        &self.client_email
    }

    pub fn project_id(&self) -> Option<&str> {
        self.project_id.as_deref()
    }

    /// What tells one of its keys from another: the key's name, and its public half in DER.
    pub fn key(&self) -> (Option<&str>, &[u8]) {
        let name = self.private_key_id.as_deref();
        (name, self.private_key.public().as_ref())
    }

    /// Where the form goes; the same as [`TokenRequest::url`].
    pub fn token_uri(&self) -> &Url {
        &self.token_uri
    }

    /// The account's word that it wants a token for Google Cloud, valid for an hour from `now_ms`
    /// (milliseconds since 1970).
    pub fn assertion(&self, now_ms: u64) -> Result<Secret, GrantError> {
        assertion::signed(self, now_ms)
    }

    /// What to post for a token. Its answer is read by [`read_token`].
    pub fn token_request(&self, now_ms: u64) -> Result<TokenRequest, GrantError> {
        Ok(TokenRequest {
            url: self.token_uri.clone(),
            form_body: assertion::form(&self.assertion(now_ms)?),
        })
    }
}

/// Of PKCS#8, as Google writes it, or PKCS#1.
fn private_key(pem: &str) -> Option<Arc<RsaKeyPair>> {
    let pair = match PrivateKeyDer::from_pem_slice(pem.as_bytes()).ok()? {
        PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
        PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
        _ => return None,
    };
    pair.ok().map(Arc::new)
}

/// The assertion is as good as the key for an hour, so it travels encrypted.
fn token_uri(written: &str) -> Option<Url> {
    let url = Url::parse(written).ok()?;
    let bare = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    let safe = url.scheme() == "https" || (url.scheme() == "http" && is_loopback(&url));
    (bare && safe && url.has_host()).then_some(url)
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_assertion_goes_nowhere_unencrypted() {
        for good in [
            TOKEN_URI,
            "http://127.0.0.1:4000/token",
            "http://[::1]:4000/token",
            "http://localhost/token",
        ] {
            assert!(token_uri(good).is_some(), "{good}");
        }
        for bad in [
            "http://oauth2.googleapis.com/token",
            "http://localhost.example.com/token",
            "https://user:password@example.com/token",
            "https://example.com/token#part",
            "ftp://example.com/token",
            "/token",
            "",
        ] {
            assert!(token_uri(bad).is_none(), "{bad}");
        }
    }
}
