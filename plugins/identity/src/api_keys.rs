//! Static client keys from configuration (F2).

use std::sync::Arc;

use hashbrown::HashMap;
use turnpike_api::{Answer, Authenticator, Identity, Presented, Verdict};

use crate::Settings;

/// Knows the configured keys by a keyed digest of the whole key.
///
/// The map never holds a key, and a look-up compares digests that a caller can neither compute
/// nor steer, so its time tells nothing about the keys.
pub struct ApiKeys {
    digest_key: [u8; 32],
    holders: HashMap<blake3::Hash, Arc<Identity>>,
}

impl ApiKeys {
    /// Digests the configured keys.
    pub fn new(settings: &Settings) -> Self {
        let digest_key = settings.digest_key;
        let holders = settings
            .api_keys
            .iter()
            .map(|(key, holder)| {
                (
                    blake3::keyed_hash(&digest_key, key.expose().as_bytes()),
                    holder.clone(),
                )
            })
            .collect();
        Self {
            digest_key,
            holders,
        }
    }
}

impl Authenticator for ApiKeys {
    fn authenticate<'a>(&'a self, presented: Presented<'a>) -> Answer<'a, Verdict> {
        let digest = blake3::keyed_hash(&self.digest_key, presented.token.as_bytes());
        Answer::Ready(match self.holders.get(&digest) {
            Some(holder) => Verdict::Known(holder.clone()),
            None => Verdict::NotMine,
        })
    }
}

#[cfg(test)]
mod tests {
    use turnpike_api::{ModelRules, Secret, testing};

    use super::*;

    #[test]
    fn conforms() {
        let known = ["team-a-0123456789", "Team-A-0123456789", "k"];
        let api_keys = known
            .iter()
            .map(|key| {
                let holder = Identity::new(*key, ModelRules::any());
                (Secret::new(*key), Arc::new(holder))
            })
            .collect();
        let keys = ApiKeys::new(&Settings {
            api_keys,
            ..Settings::none()
        });
        testing::conforming_authenticator(&keys, &known);
    }
}
