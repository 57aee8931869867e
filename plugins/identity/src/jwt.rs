//! Tokens of configured issuers (F5): JWT bearers, and the ID tokens of logins (F23).
//!
//! A token goes this way: taken apart within bounds (`token`), matched with an issuer by its `iss`,
//! its claims compared with what the issuer's tokens must say (`claims`), and only then its
//! signature checked (`signature`) with one of the issuer's keys (`key_set`), which are fetched
//! and kept (`key_cache`). The cheap refusals come first, so that a stranger can make neither a
//! fetch nor much work, and no more than a few signatures are checked at once
//! (`signature_checks`). What was found good is remembered for minutes (`verified`).

mod claims;
mod generations;
mod issuer;
mod key_cache;
mod key_set;
mod refused;
mod ring_provider;
mod signature;
mod signature_checks;
#[cfg(test)]
mod tests;
mod token;
mod verified;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use turnpike_api::{
    Answer, Attributes, Authenticator, Clock, Identity, ModelRules, Presented, Verdict,
};

pub use claims::Claims;
pub(crate) use claims::{named, names, others};
pub use issuer::{Algorithm, AlgorithmError, ClaimNames, Issuer, IssuerError, MAX_LEEWAY};
pub use key_cache::{
    BETWEEN_FETCHES, FetchError, FetchKeys, KeyCache, KeysError, KeysStatus, MAX_AGE, MAX_STALE,
};
pub use key_set::{KeySet, KeySetError};
pub use refused::Refused;
pub use signature_checks::SignatureChecks;

use blake3::Hash;
use key_set::Unsigned;
use signature_checks::{Bearer, Turn};
use token::Unverified;
use verified::Verified;

/// For how long a token is taken without its signature being checked again: also how long one
/// lasts whose key its issuer has withdrawn.
pub const TRUSTED_FOR: Duration = Duration::from_secs(5 * 60);

/// Checks the tokens of one issuer.
pub struct JwtVerifier {
    issuer: Issuer,
    keys: Arc<KeyCache>,
    clock: Arc<dyn Clock>,
}

/// What a good token says, and with which of its issuer's keys (RFC 7517) it is signed.
pub(crate) struct Proven {
    pub(crate) claims: Claims,
    /// All that it says.
    pub(crate) said: Map<String, Value>,
    pub(crate) key: Arc<Value>,
}

/// Knows callers by the tokens of the configured issuers.
pub struct JwtBearers {
    verifiers: HashMap<Box<str>, JwtVerifier>,
    checks: Arc<SignatureChecks>,
    verified: Verified,
    clock: Arc<dyn Clock>,
}

impl JwtVerifier {
    /// The keys may be shared with others who check tokens of that issuer, and outlive a reload.
    pub fn new(issuer: Issuer, keys: Arc<KeyCache>, clock: Arc<dyn Clock>) -> Self {
        Self {
            issuer,
            keys,
            clock,
        }
    }

    /// What the token says, if it is one of this issuer, for us, for now and signed; and the key, for who
    /// checks the token once more.
    pub(crate) async fn prove(&self, token: &str) -> Result<Proven, Refused> {
        let token = Unverified::parse(token)?;
        // A login has brought a code before: nobody makes many of them.
        let (claims, key) = self.check(&token, Turn::Now).await?;
        let said = token.claims;
        Ok(Proven { claims, said, key })
    }

    async fn check(
        &self,
        token: &Unverified<'_>,
        turn: Turn<'_>,
    ) -> Result<(Claims, Arc<Value>), Refused> {
        let header = token.header()?;
        if !self.issuer.algorithms.contains(&header.algorithm) {
            return Err(Refused::Algorithm);
        }
        let claims = Claims::check(&self.issuer, &token.claims, self.clock.now())?;

        let keys = self.keys.keys().await.map_err(|_| Refused::NoKeys)?;
        let signed = Arc::new(token.signed(header));
        let mut signature = turn.check(&signed, &keys).await?;
        if signature == Err(Unsigned::UnknownKey)
            && let Some(newer) = self.keys.newer_than(&keys).await
        {
            signature = turn.check(&signed, &newer).await?;
        }
        match signature {
            Ok(key) => Ok((claims, key)),
            Err(Unsigned::Bad) => Err(Refused::Signature),
            Err(Unsigned::UnknownKey) => Err(Refused::UnknownKey),
        }
    }
}

impl JwtBearers {
    /// Of two verifiers of one issuer the first counts. `digest_key` is random, made at start and
    /// never written down. The checks may be shared with others, and outlive a reload.
    pub fn new(
        verifiers: impl IntoIterator<Item = JwtVerifier>,
        clock: Arc<dyn Clock>,
        digest_key: [u8; 32],
        checks: Arc<SignatureChecks>,
    ) -> Self {
        let mut by_issuer = HashMap::new();
        for verifier in verifiers {
            let url = verifier.issuer.url.clone();
            by_issuer.entry(url).or_insert(verifier);
        }
        Self {
            verifiers: by_issuer,
            checks,
            verified: Verified::new(digest_key),
            clock,
        }
    }

    async fn judge(&self, verifier: &JwtVerifier, token: Unverified<'_>, digest: Hash) -> Verdict {
        let was_good = self.verified.had(&digest);
        let turn = Turn::Bearer(&self.checks, Bearer { digest, was_good });
        match verifier.check(&token, turn).await {
            Ok((claims, _)) => {
                let identity = Arc::new(identity(&claims, &verifier.issuer));
                let trusted_until = self.clock.now() + TRUSTED_FOR.as_millis() as u64;
                let until = claims.expires_at.min(trusted_until);
                self.verified.insert(digest, identity.clone(), until);
                Verdict::Known(identity)
            }
            Err(refused) => Verdict::Reject(refused.rejection()),
        }
    }
}

impl Authenticator for JwtBearers {
    fn authenticate<'a>(&'a self, presented: Presented<'a>) -> Answer<'a, Verdict> {
        if !token::has_three_parts(presented.token) {
            return Answer::Ready(Verdict::NotMine);
        }
        if presented.token.len() > token::MAX_BYTES {
            return Answer::Ready(Verdict::Reject(Refused::TooLong.rejection()));
        }
        let digest = self.verified.digest(presented.token);
        if let Some(identity) = self.verified.get(&digest, self.clock.now()) {
            return Answer::Ready(Verdict::Known(identity));
        }
        let Ok(token) = Unverified::parse(presented.token) else {
            return Answer::Ready(Verdict::NotMine);
        };
        match token.issuer().and_then(|url| self.verifiers.get(url)) {
            Some(verifier) => Answer::Pending(Box::pin(self.judge(verifier, token, digest))),
            None => Answer::Ready(Verdict::NotMine),
        }
    }
}

/// Why nobody could read a token: by its form or its header. `None` = that is not why.
pub(crate) fn unreadable(token: &str) -> Option<Refused> {
    let header = Unverified::parse(token).and_then(|token| token.header());
    header.err()
}

/// The issuer that a token names, which nobody has checked; `None` = it is no signed token.
pub fn unproven_issuer(token: &str) -> Option<String> {
    unproven(token, "iss")
}

/// What a token says under a name, which nobody has checked.
pub(crate) fn unproven(token: &str, claim: &str) -> Option<String> {
    let token = Unverified::parse(token).ok()?;
    token.claims.get(claim)?.as_str().map(str::to_owned)
}

fn identity(claims: &Claims, issuer: &Issuer) -> Identity {
    let name = claims.usable_email().unwrap_or(&claims.subject);
    let attributes = Attributes {
        tenant: issuer.tenant.clone(),
        ..claims.attributes()
    };
    Identity {
        // As long as it is taken.
        ends_at: Some(claims.expires_at + issuer.leeway.as_millis() as u64),
        ..Identity::new(name, ModelRules::any()).with(attributes)
    }
}
