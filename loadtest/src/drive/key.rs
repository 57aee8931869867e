use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use crate::ids::Random;

/// What calls are sent with.
#[derive(Debug, Clone)]
pub enum Key {
    /// Always the same.
    Same(String),
    /// Each call with another that was made up.
    MadeUp(Forgery),
}

/// Credentials that look like a gateway's own, and are not.
#[derive(Debug, Clone)]
pub enum Forgery {
    /// Agent tokens that nobody has.
    UnknownId,
    /// Of an agent token that there is, with other secrets.
    WrongSecret { id: String },
    /// Signed tokens whose signatures are nobody's.
    BadSignature { issuer: String, algorithm: Curve },
}

/// What signatures are said to be made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Curve {
    P256,
    P384,
}

impl From<String> for Key {
    fn from(key: String) -> Self {
        Self::Same(key)
    }
}

impl Key {
    /// Of the `nth` call.
    pub(super) fn nth(&self, nth: u64) -> String {
        match self {
            Self::Same(key) => key.clone(),
            Self::MadeUp(forgery) => forgery.nth(nth),
        }
    }
}

impl Forgery {
    /// The `nth`; no two are the same.
    pub fn nth(&self, nth: u64) -> String {
        let mut random = Random::new(nth);
        match self {
            Self::UnknownId => {
                let id = random.text(16, b"abcdefghijkmnpqrstuvwxyz23456789");
                format!("tp-{id}.{}", secret(&mut random))
            }
            Self::WrongSecret { id } => format!("tp-{id}.{}", secret(&mut random)),
            Self::BadSignature { issuer, algorithm } => {
                forged(issuer, *algorithm, &random.bytes(algorithm.signature()))
            }
        }
    }
}

/// The secret of an agent token.
pub(crate) fn secret(random: &mut Random) -> String {
    random.text(43, SECRET)
}

/// What secrets are written in.
pub(crate) const SECRET: &[u8] =
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

fn forged(issuer: &str, algorithm: Curve, signature: &[u8]) -> String {
    claimed(issuer, algorithm, "load") + "." + &URL_SAFE_NO_PAD.encode(signature)
}

/// What is signed of a token that says so: its head and claims.
pub(crate) fn claimed(issuer: &str, algorithm: Curve, subject: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map(|now| now.as_secs()).unwrap_or_default();
    let name = algorithm.name();
    let header = json!({"alg": name, "typ": "JWT", "kid": name});
    let claims =
        json!({"iss": issuer, "aud": "turnpike", "sub": subject, "iat": now, "exp": now + 3600});
    let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    format!("{header}.{claims}")
}

impl Curve {
    pub const ALL: [Self; 2] = [Self::P256, Self::P384];

    /// As a token's header has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::P256 => "ES256",
            Self::P384 => "ES384",
        }
    }

    /// Bytes of a signature.
    fn signature(self) -> usize {
        match self {
            Self::P256 => 64,
            Self::P384 => 96,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_are_the_same_and_each_has_its_form() {
        let issuer = "http://127.0.0.1:1".to_owned();
        let id = "a".repeat(16);
        let kinds = [
            Forgery::UnknownId,
            Forgery::WrongSecret { id },
            Forgery::BadSignature {
                issuer,
                algorithm: Curve::P384,
            },
        ];
        for kind in kinds {
            let made: HashSet<String> = (0..1_000).map(|nth| kind.nth(nth)).collect();
            assert_eq!(made.len(), 1_000, "{kind:?}");
            for made in made {
                match kind {
                    Forgery::BadSignature { .. } => assert_eq!(made.split('.').count(), 3),
                    _ => assert_eq!((made.len(), &made[..3]), (3 + 16 + 1 + 43, "tp-")),
                }
            }
        }
    }
}
