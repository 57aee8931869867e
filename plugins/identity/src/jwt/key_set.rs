use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

use super::issuer::Algorithm;
use super::signature::PublicKey;

/// The most bytes that a key set may have; the largest known have a fifth.
pub(super) const MAX_BYTES: usize = 256 << 10;

/// The most keys that a set may have.
pub(super) const MAX_KEYS: usize = 100;

/// How many keys a token is tried with, at most: of one `kid` there is one key, or two by mistake.
const MAX_TRIES: usize = 4;

/// The public keys of an issuer (RFC 7517), those that signatures can be checked with.
pub struct KeySet(Vec<Key>);

struct Key {
    id: Option<Box<str>>,
    algorithm: Option<Algorithm>,
    key: PublicKey,
    /// As its issuer published it.
    published: Arc<Value>,
}

/// Why a document is not a key set.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum KeySetError {
    #[error("the key set is longer than {MAX_BYTES} bytes")]
    TooLong,
    #[error("the key set has more than {MAX_KEYS} keys")]
    TooMany,
    #[error("the key set is not a JSON object with a list of keys")]
    Form,
}

/// Why no key is the one that made a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unsigned {
    Bad,
    /// No key is of that id and fits the algorithm: it may be newer than the set.
    UnknownKey,
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct Entry {
    kty: Box<str>,
    kid: Option<Box<str>>,
    #[serde(rename = "use")]
    purpose: Option<Box<str>>,
    key_ops: Option<Vec<Box<str>>>,
    alg: Option<Box<str>>,
    crv: Option<Box<str>>,
    n: Option<Box<str>>,
    e: Option<Box<str>>,
    x: Option<Box<str>>,
    y: Option<Box<str>>,
}

impl KeySet {
    /// Reads a document. Keys that are not for signatures, or not of a kind we know, or broken, are
    /// passed over, so that one of them does not take the others with it. A set without keys is a
    /// set: its issuer has withdrawn them all.
    pub fn parse(document: &[u8]) -> Result<Self, KeySetError> {
        if document.len() > MAX_BYTES {
            return Err(KeySetError::TooLong);
        }
        let Document { keys } = serde_json::from_slice(document).map_err(|_| KeySetError::Form)?;
        if keys.len() > MAX_KEYS {
            return Err(KeySetError::TooMany);
        }
        let usable = keys.into_iter().filter_map(|key| {
            let entry = Entry::deserialize(&key).ok()?;
            entry.usable(key)
        });
        Ok(Self(usable.collect()))
    }

    /// How many of its keys are of use.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none of its keys is of use.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a signature may be of any of its keys.
    pub(super) fn has(&self, id: Option<&str>, algorithm: Algorithm) -> bool {
        self.0.iter().any(|key| key.fits(id, algorithm))
    }

    /// The key that made `signature`, as its issuer published it. A token that names a key is tried with keys of that
    /// name only; one that names none with all that fit.
    pub(super) fn verify(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<Arc<Value>, Unsigned> {
        let mut fitting = self
            .0
            .iter()
            .filter(|key| key.fits(id, algorithm))
            .peekable();
        if fitting.peek().is_none() {
            return Err(Unsigned::UnknownKey);
        }
        let good = fitting
            .take(MAX_TRIES)
            .find(|key| key.key.verifies(algorithm, message, signature));
        match (good, id) {
            (Some(key), _) => Ok(key.published.clone()),
            (None, Some(_)) => Err(Unsigned::Bad),
            // Its key has no name, so it cannot be told from a new one.
            (None, None) => Err(Unsigned::UnknownKey),
        }
    }
}

impl Key {
    fn fits(&self, id: Option<&str>, algorithm: Algorithm) -> bool {
        (id.is_none() || id == self.id.as_deref())
            && self.algorithm.is_none_or(|only| only == algorithm)
            && self.key.fits(algorithm)
    }
}

impl Entry {
    fn usable(self, published: Value) -> Option<Key> {
        let for_signatures = self
            .purpose
            .as_deref()
            .is_none_or(|purpose| purpose == "sig");
        let to_verify = (self.key_ops.as_ref())
            .is_none_or(|operations| operations.iter().any(|operation| &**operation == "verify"));
        if !for_signatures || !to_verify {
            return None;
        }
        let algorithm = match &self.alg {
            Some(name) => Some(Algorithm::named(name)?),
            None => None,
        };
        let curve = self.crv.as_deref().unwrap_or_default();
        let key = match &*self.kty {
            "RSA" => PublicKey::rsa(&decoded(&self.n)?, &decoded(&self.e)?)?,
            "EC" => PublicKey::elliptic(curve, &decoded(&self.x)?, &decoded(&self.y)?)?,
            "OKP" => PublicKey::edwards(curve, &decoded(&self.x)?)?,
            _ => return None,
        };
        Some(Key {
            id: self.kid,
            algorithm,
            key,
            published: Arc::new(published),
        })
    }
}

fn decoded(text: &Option<Box<str>>) -> Option<Vec<u8>> {
    BASE64_URL_SAFE_NO_PAD.decode(text.as_deref()?).ok()
}
