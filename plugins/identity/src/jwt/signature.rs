//! Public keys, and which signatures they are for.

use jsonwebtoken::{Algorithm as Name, DecodingKey};
use ring::agreement::{self, ECDH_P256, ECDH_P384, EphemeralPrivateKey, agree_ephemeral};
use ring::rand::SystemRandom;

use super::issuer::Algorithm;
use super::ring_provider::RING;

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
        let (kind, size, agreement) = match curve {
            "P-256" => (Kind::P256, 32, &ECDH_P256),
            "P-384" => (Kind::P384, 48, &ECDH_P384),
            _ => return None,
        };
        if x.len() != size || y.len() != size {
            return None;
        }
        let point = [&[4], x, y].concat();
        is_on_curve(&point, agreement).then(|| Self {
            kind,
            key: DecodingKey::from_ec_der(&point),
        })
    }

    /// From a compressed point. `None` for another curve, or what is too short or too long. With
    /// what is no point of the curve, no signature is good.
    pub(super) fn edwards(curve: &str, x: &[u8]) -> Option<Self> {
        (curve == "Ed25519" && x.len() == 32).then(|| Self {
            kind: Kind::Ed25519,
            key: DecodingKey::from_ed_der(x),
        })
    }

    /// Whether it is a key for `algorithm`.
    pub(super) fn fits(&self, algorithm: Algorithm) -> bool {
        self.kind == made_with(algorithm).0
    }

    /// Whether `signature` was made over `message` with this key's private half.
    pub(super) fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let (_, name) = made_with(algorithm);
        // The provider is named, not installed as jsonwebtoken's default one: that is chosen for the
        // whole process, and only once.
        self.fits(algorithm)
            && (RING.verifier_factory)(&name, &self.key)
                .is_ok_and(|verifier| verifier.verify(message, &signature.to_vec()).is_ok())
    }
}

/// ring tells it of a point only when a secret is to be agreed upon with it.
fn is_on_curve(point: &[u8], curve: &'static agreement::Algorithm) -> bool {
    let peer = agreement::UnparsedPublicKey::new(curve, point);
    EphemeralPrivateKey::generate(curve, &SystemRandom::new())
        .and_then(|ours| agree_ephemeral(ours, &peer, |_| ()))
        .is_ok()
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
