//! The one place that knows the cryptography.

use jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER;
use jsonwebtoken::{Algorithm as Name, DecodingKey};

use super::issuer::Algorithm;

const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;

/// A public key, and the only kind of signature it is for. That a key can never be used for an
/// algorithm of another kind, an RSA key as an HMAC secret least of all, lies in
/// [`PublicKey::fits`].
pub(super) struct PublicKey {
    kind: Kind,
    key: DecodingKey,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Rsa,
    P256,
    P384,
    Ed25519,
}

impl PublicKey {
    /// From modulus and exponent, big-endian. `None` for sizes that are too weak to mean anything
    /// or too large to compute with.
    pub(super) fn rsa(n: &[u8], e: &[u8]) -> Option<Self> {
        let (n, e) = (trimmed(n), trimmed(e));
        let bits = 8 * n.len() - n.first()?.leading_zeros() as usize;
        let odd = |number: &[u8]| number.last().is_some_and(|byte| byte % 2 == 1);
        let fits = RSA_BITS.contains(&bits) && e.len() <= 4 && e != [1] && odd(e) && odd(n);
        fits.then(|| Self {
            kind: Kind::Rsa,
            key: DecodingKey::from_rsa_raw_components(n, e),
        })
    }

    /// From a point's coordinates. `None` for another curve, or a point that is not on it.
    pub(super) fn elliptic(curve: &str, x: &[u8], y: &[u8]) -> Option<Self> {
        let (kind, size, probe) = match curve {
            "P-256" => (Kind::P256, 32, Name::ES256),
            "P-384" => (Kind::P384, 48, Name::ES384),
            _ => return None,
        };
        if x.len() != size || y.len() != size {
            return None;
        }
        Self::checked(
            kind,
            probe,
            DecodingKey::from_ec_der(&[&[4], x, y].concat()),
        )
    }

    /// From a compressed point. `None` for another curve, or a point that is not on it.
    pub(super) fn edwards(curve: &str, x: &[u8]) -> Option<Self> {
        // Of fewer bytes jsonwebtoken would take a slice that is not there, and panic.
        if curve != "Ed25519" || x.len() != 32 {
            return None;
        }
        Self::checked(Kind::Ed25519, Name::EdDSA, DecodingKey::from_ed_der(x))
    }

    fn checked(kind: Kind, probe: Name, key: DecodingKey) -> Option<Self> {
        (DEFAULT_PROVIDER.verifier_factory)(&probe, &key).ok()?;
        Some(Self { kind, key })
    }

    /// Whether it is a key for `algorithm`.
    pub(super) fn fits(&self, algorithm: Algorithm) -> bool {
        self.kind == made_with(algorithm).0
    }

    /// Whether `signature` was made over `message` with this key's private half.
    pub(super) fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let (_, name) = made_with(algorithm);
        // The provider is named, not jsonwebtoken's default one: that is chosen for the whole
        // process, and panics when a dependency switches a second one on.
        self.fits(algorithm)
            && (DEFAULT_PROVIDER.verifier_factory)(&name, &self.key)
                .is_ok_and(|verifier| verifier.verify(message, &signature.to_vec()).is_ok())
    }
}

fn made_with(algorithm: Algorithm) -> (Kind, Name) {
    match algorithm {
        Algorithm::Rs256 => (Kind::Rsa, Name::RS256),
        Algorithm::Rs384 => (Kind::Rsa, Name::RS384),
        Algorithm::Rs512 => (Kind::Rsa, Name::RS512),
        Algorithm::Ps256 => (Kind::Rsa, Name::PS256),
        Algorithm::Ps384 => (Kind::Rsa, Name::PS384),
        Algorithm::Ps512 => (Kind::Rsa, Name::PS512),
        Algorithm::Es256 => (Kind::P256, Name::ES256),
        Algorithm::Es384 => (Kind::P384, Name::ES384),
        Algorithm::EdDsa => (Kind::Ed25519, Name::EdDSA),
    }
}

fn trimmed(mut number: &[u8]) -> &[u8] {
    while let [0, rest @ ..] = number {
        number = rest;
    }
    number
}
