//! Whose a standing is. What became of one secret says nothing of another that stands in its place.

use serde::{Deserialize, Serialize};

/// Digests: they tell accounts and secrets apart, and say nothing else of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    account: u64,
    secret: u64,
}

impl Holder {
    /// A key is its own account.
    pub fn of_key(secret: &[u8]) -> Self {
        let secret = digest([secret]);
        Self {
            account: secret,
            secret,
        }
    }

    /// An account whose secrets come and go. One that has no name is that of its credential.
    pub fn of_account<const N: usize>(names: [Option<&str>; N], secret: &[u8]) -> Self {
        Self {
            account: digest(names.map(|name| name.unwrap_or_default().as_bytes())),
            secret: digest([secret]),
        }
    }

    /// Whether the two may be limited together.
    pub fn is_account_of(self, other: Self) -> bool {
        self.account == other.account
    }
}

fn digest<const N: usize>(parts: [&[u8]; N]) -> u64 {
    let mut hasher =
        blake3::Hasher::new_derive_key("turnpike 2026 whose a credential's standing is");
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let mut digest = [0; 8];
    hasher.finalize_xof().fill(&mut digest);
    u64::from_le_bytes(digest)
}
