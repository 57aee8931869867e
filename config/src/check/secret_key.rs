//! Keys that the gateway itself encrypts and seals with.

use turnpike_api::Secret;

use crate::locate::Path;
use crate::plan::SecretKey;

use super::Context;

pub(super) fn secret_key(
    written: &Secret,
    at: &Path,
    context: &mut Context<'_>,
) -> Option<SecretKey> {
    let key = SecretKey::read(written);
    let message = match &key {
        // Some placeholders have 32 characters.
        _ if written.is_placeholder() => {
            "a placeholder; write a key of 32 random bytes: `openssl rand -base64 32` makes one"
        }
        Some(key) if key.is_guessable() => {
            "not random: too few of its bytes differ; `openssl rand -base64 32` makes a key"
        }
        Some(_) => return key,
        None => {
            "expected 32 bytes: as they are, 64 hexadecimal digits, or 44 characters of Base64; \
             `openssl rand -base64 32` makes a key"
        }
    };
    context.report.at(at, message);
    None
}
