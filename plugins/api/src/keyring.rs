//! Secrets at rest: an envelope that only this gateway, and its operator with the same key, can open.
//!
//! ```text
//! tpe1.<key id>.<Base64, url-safe, unpadded: nonce of 12 bytes, ciphertext, tag of 16 bytes>
//! ```
//!
//! AES-256-GCM (NIST SP 800-38D) with a random nonce; what the secret belongs to is the associated
//! data, so an envelope that is copied into another's place does not open there. The cipher's key
//! and the key's id (8 hexadecimal digits) are made of the configured one by HKDF-SHA256 (RFC 5869)
//! with the salt `turnpike envelope 1` and the texts `cipher` and `id`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Prk, Salt};
use ring::rand::{SecureRandom, SystemRandom};
use thiserror::Error;
use zeroize::Zeroizing;

const MARK: &str = "tpe1.";

/// Hexadecimal digits of a key's id.
const ID: usize = 8;

/// The key that seals, and those that only open what was sealed before.
///
/// ```
/// use turnpike_api::Keyring;
///
/// let keyring = Keyring::new([&[7; 32], &[6; 32]]);
/// let old = Keyring::new([&[6; 32]]).seal(b"sk-live", "openai/main").unwrap();
/// assert_eq!(**keyring.open(&old, "openai/main").unwrap(), *b"sk-live");
/// assert!(!keyring.is_current(&old));
/// assert!(keyring.open(&old, "openai/other").is_err());
/// ```
#[derive(Default)]
pub struct Keyring {
    keys: Vec<Key>,
}

struct Key {
    id: String,
    cipher: LessSafeKey,
}

/// Why a secret could not be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SealError {
    #[error("no key is configured")]
    NoKey,
    #[error("the system gives no random numbers")]
    Random,
}

/// Why an envelope does not open. Quotes nothing of it but the id of the key.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OpenError {
    #[error("is encrypted, but not whole; put it back from a backup")]
    Damaged,
    #[error(
        "is encrypted with the key {0}, which is not configured; add it to `auth.encryption.previous_keys`"
    )]
    NoSuchKey(String),
    #[error("cannot be decrypted: it was altered, or renamed; put it back from a backup")]
    Altered,
}

impl Keyring {
    /// Of keys of 32 bytes: the first seals. With none nothing is sealed, and nothing opens.
    pub fn new<'a>(keys: impl IntoIterator<Item = &'a [u8; 32]>) -> Self {
        let keys = keys.into_iter().map(Key::new).collect();
        Self { keys }
    }

    /// Whether a text is an envelope, of whatever key.
    pub fn is_sealed(text: &str) -> bool {
        text.starts_with(MARK)
    }

    /// Whether it is an envelope of the key that seals now.
    pub fn is_current(&self, sealed: &str) -> bool {
        let id = sealed.strip_prefix(MARK).and_then(|rest| rest.get(..ID));
        id.is_some_and(|id| self.keys.first().is_some_and(|key| key.id == id))
    }

    /// Seals a secret (at most 64 GiB) that belongs to `of`, which is needed to open it.
    pub fn seal(&self, secret: &[u8], of: &str) -> Result<String, SealError> {
        let key = self.keys.first().ok_or(SealError::NoKey)?;
        let mut nonce = [0; NONCE_LEN];
        let filled = SystemRandom::new().fill(&mut nonce);
        filled.map_err(|_| SealError::Random)?;
        // Room for the tag: no copy of the secret is left behind where the buffer grows.
        let mut sealed = Vec::with_capacity(secret.len() + AES_256_GCM.tag_len());
        sealed.extend_from_slice(secret);
        let nonce_of_it = Nonce::assume_unique_for_key(nonce);
        key.cipher
            .seal_in_place_append_tag(nonce_of_it, Aad::from(of.as_bytes()), &mut sealed)
            .unwrap_or_else(|_| unreachable!("a secret is shorter than 64 GiB"));
        let data = URL_SAFE_NO_PAD.encode([&nonce[..], &sealed].concat());
        Ok(format!("{MARK}{}.{data}", key.id))
    }

    /// What was sealed for `of`.
    pub fn open(&self, sealed: &str, of: &str) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let rest = sealed.strip_prefix(MARK).ok_or(OpenError::Damaged)?;
        let (id, data) = rest.split_once('.').ok_or(OpenError::Damaged)?;
        if id.len() != ID || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(OpenError::Damaged);
        }
        let key = self.keys.iter().find(|key| key.id == id);
        let key = key.ok_or_else(|| OpenError::NoSuchKey(id.to_owned()))?;
        let data = URL_SAFE_NO_PAD.decode(data);
        let mut data = Zeroizing::new(data.map_err(|_| OpenError::Damaged)?);
        let (nonce, sealed) = data
            .split_first_chunk_mut::<NONCE_LEN>()
            .ok_or(OpenError::Damaged)?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = key
            .cipher
            .open_in_place(nonce, Aad::from(of.as_bytes()), sealed);
        let opened = opened.map_err(|_| OpenError::Altered)?;
        Ok(Zeroizing::new(opened.to_vec()))
    }
}

impl Key {
    fn new(key: &[u8; 32]) -> Self {
        let made = Salt::new(HKDF_SHA256, b"turnpike envelope 1").extract(key);
        let cipher = made
            .expand(&[b"cipher"], &AES_256_GCM)
            .map(UnboundKey::from);
        // HKDF refuses only what is longer than 255 hashes.
        let cipher = cipher.unwrap_or_else(|_| unreachable!("a key of one hash"));
        Self {
            id: id(&made),
            cipher: LessSafeKey::new(cipher),
        }
    }
}

/// Says nothing of the key.
fn id(made: &Prk) -> String {
    let mut bytes = [0; 32];
    made.expand(&[b"id"], HKDF_SHA256)
        .and_then(|made| made.fill(&mut bytes))
        .unwrap_or_else(|_| unreachable!("one hash is filled with one hash"));
    let digits = bytes[..ID / 2].iter().map(|byte| format!("{byte:02x}"));
    digits.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_opens_with_its_key_in_its_place_and_as_it_was_written() {
        let keyring = Keyring::new([&[1; 32]]);
        let sealed = keyring.seal(b"sk-live", "a.json").unwrap();
        assert!(Keyring::is_sealed(&sealed) && keyring.is_current(&sealed));
        assert!(!sealed.contains("live"));
        assert_ne!(sealed, keyring.seal(b"sk-live", "a.json").unwrap());
        assert_eq!(**keyring.open(&sealed, "a.json").unwrap(), *b"sk-live");
        assert_eq!(keyring.open(&sealed, "b.json"), Err(OpenError::Altered));
        let other = Keyring::new([&[2; 32]]);
        let id = sealed[MARK.len()..][..ID].to_owned();
        assert_eq!(other.open(&sealed, "a.json"), Err(OpenError::NoSuchKey(id)));
        assert!(!other.is_current(&sealed));
        for at in MARK.len() + ID + 1..sealed.len() {
            // The last character's low bits are padding, which must be nought.
            let mut altered = sealed.clone().into_bytes();
            altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
            let altered = String::from_utf8(altered).unwrap();
            assert!(keyring.open(&altered, "a.json").is_err(), "at {at}");
        }
        for end in 0..sealed.len() {
            assert!(keyring.open(&sealed[..end], "a.json").is_err(), "{end}");
        }
    }

    #[test]
    fn without_a_key_nothing_is_sealed() {
        let none = Keyring::new([]);
        assert_eq!(none.seal(b"secret", ""), Err(SealError::NoKey));
        assert!(!none.is_current("tpe1."));
    }

    /// What was written by an older release must open for ever.
    #[test]
    fn the_format_stays() {
        let keyring = Keyring::new([&std::array::from_fn(|at| at as u8)]);
        let opened = keyring.open(KNOWN, "openai.json");
        assert_eq!(**opened.unwrap(), *b"{}");
    }

    const KNOWN: &str = "tpe1.b47c2d19.OGg5yHlcBvbHp7Dt0Am8bPgrvz4zyc8kLS6jFBF2";
}
