use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::{hkdf, hmac};
use turnpike_api::Secret;
use zeroize::Zeroizing;

/// What a seal is for. One is worth nothing for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Login links.
    Link,
    /// Who is signed in.
    Cookie,
    /// Forms that are sent back to us.
    Form,
    /// Confirmation codes.
    Code,
    /// What ties an ID token to a login.
    Nonce,
    /// What ties a code to a login (PKCE).
    Verifier,
    /// Texts that the gateway said in a model's place.
    Said,
    /// Codes that people type for their devices.
    Device,
}

const PURPOSES: [(Purpose, &[u8]); 8] = [
    (Purpose::Link, b"login link"),
    (Purpose::Cookie, b"session cookie"),
    (Purpose::Form, b"form"),
    (Purpose::Code, b"confirmation code"),
    (Purpose::Nonce, b"nonce"),
    (Purpose::Verifier, b"code verifier"),
    (Purpose::Said, b"said by the gateway"),
    (Purpose::Device, b"device user code"),
];

/// Seals, each purpose with a key of its own, all made from the gateway's secret key.
pub struct Seals {
    keys: [hmac::Key; 8],
    hiding: LessSafeKey,
}

impl Seals {
    pub fn new(secret_key: &[u8; 32]) -> Self {
        let made = hkdf::Salt::new(hkdf::HKDF_SHA256, b"turnpike sso 1").extract(secret_key);
        let keys = PURPOSES.map(|(purpose, name)| {
            let info = [name];
            // HKDF refuses only what is longer than 255 hashes.
            let key = made.expand(&info, hmac::HMAC_SHA256);
            key.map(hmac::Key::from)
                .unwrap_or_else(|_| unreachable!("{purpose:?} has a key of one hash"))
        });
        let hiding = made.expand(&[b"refresh token"], &AES_256_GCM);
        let hiding = hiding.map_or_else(|_| unreachable!("a key of one hash"), UnboundKey::from);
        Self {
            keys,
            hiding: LessSafeKey::new(hiding),
        }
    }

    /// Hides a secret, so that it may be kept. It is found again only with the same `of`.
    pub fn hide(&self, secret: &Secret, of: &str) -> Result<String, getrandom::Error> {
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce)?;
        let mut hidden = secret.expose().as_bytes().to_vec();
        let (of, unique) = (
            Aad::from(of.as_bytes()),
            Nonce::assume_unique_for_key(nonce),
        );
        self.hiding
            .seal_in_place_append_tag(unique, of, &mut hidden)
            .unwrap_or_else(|_| unreachable!("a token is shorter than 64 GiB"));
        Ok(URL_SAFE_NO_PAD.encode([&nonce[..], &hidden].concat()))
    }

    /// What was hidden; `None` when it was not, or with another key.
    pub fn find(&self, hidden: &str, of: &str) -> Option<Secret> {
        let hidden = URL_SAFE_NO_PAD.decode(hidden).ok()?;
        let (nonce, hidden) = hidden.split_first_chunk::<NONCE_LEN>()?;
        let mut hidden = Zeroizing::new(hidden.to_vec());
        let (of, nonce) = (
            Aad::from(of.as_bytes()),
            Nonce::assume_unique_for_key(*nonce),
        );
        let found = self.hiding.open_in_place(nonce, of, &mut hidden).ok()?;
        Some(Secret::new(std::str::from_utf8(found).ok()?))
    }

    /// The seal on a text: 43 characters that may stand in a URL.
    pub fn seal(&self, purpose: Purpose, text: &str) -> String {
        URL_SAFE_NO_PAD.encode(hmac::sign(self.key(purpose), text.as_bytes()))
    }

    /// Whether it is the seal on that text. Takes as long for every wrong one.
    pub fn is_sealed(&self, purpose: Purpose, text: &str, seal: &str) -> bool {
        let seal = URL_SAFE_NO_PAD.decode(seal);
        seal.is_ok_and(|seal| hmac::verify(self.key(purpose), text.as_bytes(), &seal).is_ok())
    }

    fn key(&self, purpose: Purpose) -> &hmac::Key {
        &self.keys[purpose as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_is_for_one_text_one_purpose_and_one_key() {
        let seals = Seals::new(&[1; 32]);
        let seal = seals.seal(Purpose::Link, "text");
        assert_eq!(seal.len(), 43);
        assert!(seals.is_sealed(Purpose::Link, "text", &seal));
        assert!(!seals.is_sealed(Purpose::Link, "texT", &seal));
        assert!(!seals.is_sealed(Purpose::Cookie, "text", &seal));
        assert!(!seals.is_sealed(Purpose::Link, "text", &seal[..42]));
        assert!(!seals.is_sealed(Purpose::Link, "text", ""));
        assert!(!Seals::new(&[2; 32]).is_sealed(Purpose::Link, "text", &seal));
        let secret = Secret::new("a refresh token");
        let hidden = seals.hide(&secret, "ada").unwrap();
        assert!(!hidden.contains("refresh"));
        assert!(seals.find(&hidden, "ada") == Some(secret));
        assert!(seals.find(&hidden, "bob").is_none());
        assert!(seals.find(&hidden[1..], "ada").is_none());
        assert!(Seals::new(&[2; 32]).find(&hidden, "ada").is_none());
        for (at, (purpose, _)) in PURPOSES.iter().enumerate() {
            assert_eq!(
                *purpose as usize, at,
                "the table is in the order of the purposes"
            );
        }
    }
}
