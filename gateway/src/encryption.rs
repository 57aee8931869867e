//! What secrets are encrypted with where they are kept (F44).

use turnpike_api::Keyring;
use turnpike_config::plan::{Plan, SecretKey};

/// Of credential files: the operator's keys. Those of before open what they sealed, also while
/// nothing is sealed any more.
pub fn of_files(plan: &Plan) -> Keyring {
    Keyring::new(plan.auth.encryption.keys.iter().map(SecretKey::bytes))
}

/// Of secrets in the store, which never stand there as they are: by the operator's key where
/// encryption is enabled, else by the gateway's own. Both open, so that nobody has to log in anew
/// when it is switched.
pub fn of_store(plan: &Plan, own: &SecretKey) -> Keyring {
    let encryption = &plan.auth.encryption;
    let theirs = encryption.keys.iter().map(SecretKey::bytes);
    let own = std::iter::once(own.bytes());
    match encryption.enabled {
        true => Keyring::new(theirs.chain(own)),
        false => Keyring::new(own.chain(theirs)),
    }
}
