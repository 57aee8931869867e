use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::{hkdf, hmac};

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
    /// Keys of the management API.
    ManagementKey,
}

const PURPOSES: [(Purpose, &[u8]); 9] = [
    (Purpose::Link, b"login link"),
    (Purpose::Cookie, b"session cookie"),
    (Purpose::Form, b"form"),
    (Purpose::Code, b"confirmation code"),
    (Purpose::Nonce, b"nonce"),
    (Purpose::Verifier, b"code verifier"),
    (Purpose::Said, b"said by the gateway"),
    (Purpose::Device, b"device user code"),
    (Purpose::ManagementKey, b"management key"),
];

/// Seals, each purpose with a key of its own, all made from the gateway's secret key.
pub struct Seals {
    keys: [hmac::Key; 9],
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
        Self { keys }
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
        for (at, (purpose, _)) in PURPOSES.iter().enumerate() {
            assert_eq!(
                *purpose as usize, at,
                "the table is in the order of the purposes"
            );
        }
    }
}
