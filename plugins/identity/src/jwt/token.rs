use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::Refused;
use super::issuer::Algorithm;
use super::signature_checks::Signed;

/// The most bytes that a token may have. Nothing of a longer one is parsed.
pub(super) const MAX_BYTES: usize = 16 << 10;

/// Whether it could be a token, by its dots and its first letter, which is that of `{`: enough to
/// tell other credentials apart, of whatever length.
pub(super) fn has_three_parts(token: &str) -> bool {
    let dots = token.bytes().filter(|&byte| byte == b'.').take(3).count();
    token.starts_with('e') && dots == 2
}

/// A token taken apart. Nothing in it is known to be true.
pub(super) struct Unverified<'t> {
    header: &'t str,
    pub(super) claims: Map<String, Value>,
    /// What was signed.
    message: &'t str,
    signature: Vec<u8>,
}

/// What of a token's header is looked at. Keys that it brings along or points to (`jwk`, `jku`,
/// `x5c`, `x5u`) are not.
pub(super) struct Header {
    pub(super) algorithm: Algorithm,
    pub(super) key_id: Option<Box<str>>,
}

#[derive(Deserialize)]
struct Document {
    alg: Box<str>,
    kid: Option<Box<str>>,
    typ: Option<Box<str>>,
    #[serde(default, deserialize_with = "present")]
    crit: bool,
}

impl<'t> Unverified<'t> {
    /// Takes a token apart, but for its header.
    pub(super) fn parse(token: &'t str) -> Result<Self, Refused> {
        if token.len() > MAX_BYTES {
            return Err(Refused::TooLong);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(Refused::Form)?;
        let (header, claims) = message.split_once('.').ok_or(Refused::Form)?;
        Ok(Self {
            header,
            claims: object(claims)?,
            message,
            signature: decoded(signature)?,
        })
    }

    /// Who it says made it.
    pub(super) fn issuer(&self) -> Option<&str> {
        self.claims.get("iss")?.as_str()
    }

    /// Its header, if it is one that we may trust a key with.
    pub(super) fn header(&self) -> Result<Header, Refused> {
        let document: Document = object(self.header)?;
        if document.crit {
            return Err(Refused::Critical);
        }
        if !document.typ.as_deref().is_none_or(is_access_or_id) {
            return Err(Refused::Type);
        }
        Ok(Header {
            algorithm: Algorithm::named(&document.alg).ok_or(Refused::Algorithm)?,
            key_id: document.kid,
        })
    }

    /// What its signature is about, with its header.
    pub(super) fn signed(&self, header: Header) -> Signed {
        Signed {
            key_id: header.key_id,
            algorithm: header.algorithm,
            message: self.message.as_bytes().into(),
            signature: self.signature.as_slice().into(),
        }
    }
}

/// A token that says it is for something else, as a proof of possession or a notice of a logout,
/// must not pass for one that lets in (RFC 8725, 3.11).
fn is_access_or_id(typ: &str) -> bool {
    let typ = typ.to_ascii_lowercase();
    let typ = typ.strip_prefix("application/").unwrap_or(&typ);
    matches!(typ, "jwt" | "at+jwt")
}

fn object<T: DeserializeOwned>(part: &str) -> Result<T, Refused> {
    serde_json::from_slice(&decoded(part)?).map_err(|_| Refused::Form)
}

fn decoded(part: &str) -> Result<Vec<u8>, Refused> {
    (BASE64_URL_SAFE_NO_PAD.decode(part)).map_err(|_| Refused::Form)
}

/// `true` for whatever value, `null` too.
fn present<'de, D: Deserializer<'de>>(value: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(value).map(|_| true)
}
