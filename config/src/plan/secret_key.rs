//! The key that the gateway seals with.

use std::collections::HashSet;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::GeneralPurpose;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE};
use turnpike_api::Secret;
use zeroize::Zeroizing;

/// Its length in bytes.
const BYTES: usize = 32;

/// 32 bytes. Cannot be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretKey(Zeroizing<[u8; BYTES]>);

impl SecretKey {
    /// Of random bytes.
    pub fn of(bytes: [u8; BYTES]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// From how people write 32 bytes: as they are, as 64 hexadecimal digits, or as 44 characters
    /// of Base64, the url-safe one too.
    pub fn read(written: &Secret) -> Option<Self> {
        let text = written.expose().trim();
        let bytes = match text.len() {
            64 => unhex(text),
            BYTES => Some(text.as_bytes().to_vec()),
            _ => [BASE64_STANDARD, BASE64_URL_SAFE]
                .iter()
                .find_map(|engine: &GeneralPurpose| engine.decode(text).ok()),
        };
        let bytes = Zeroizing::new(bytes?);
        Some(Self::of(bytes.as_slice().try_into().ok()?))
    }

    /// Whether its bytes are too much alike to be random: of 32 random ones hardly any are the
    /// same, and less than 8 different ones are never seen.
    pub fn is_guessable(&self) -> bool {
        let different: HashSet<&u8> = self.0.iter().collect();
        different.len() < 8
    }

    /// As [`read`](Self::read) reads it back.
    pub fn written(&self) -> Secret {
        let mut text = String::with_capacity(2 * BYTES);
        for byte in self.0.iter() {
            // A string takes everything.
            let _ = write!(text, "{byte:02x}");
        }
        Secret::new(text)
    }

    pub fn bytes(&self) -> &[u8; BYTES] {
        &self.0
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pair = |pair: &[u8]| Some((digit(pair[0])? * 16 + digit(pair[1])?) as u8);
    text.as_bytes().chunks_exact(2).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thirty_two_bytes_are_read_however_they_are_written() {
        let key = SecretKey::of(std::array::from_fn(|at| at as u8));
        let read = |text: &str| SecretKey::read(&Secret::new(text));
        assert!(read(key.written().expose()) == Some(key.clone()));
        assert!(read("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=") == Some(key));
        let url_safe = SecretKey::of([0xfb; 32]);
        assert!(read("-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_s=") == Some(url_safe));
        assert!(read("0123456789abcdef0123456789abcdef").is_some());
        for bad in [
            "",
            "short",
            "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
            &"z".repeat(64),
            &"a".repeat(33),
            &"é".repeat(32),
        ] {
            assert!(read(bad).is_none(), "{bad}");
        }
    }
}
