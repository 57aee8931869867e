use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;

/// The most that an issuer's time may be off ours.
pub const MAX_LEEWAY: Duration = Duration::from_secs(60);

/// Whose tokens are taken, and on what terms. Cannot be wrong: [`Issuer::new`] is the only way to
/// one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    pub(super) url: Box<str>,
    pub(super) audiences: Vec<Box<str>>,
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) leeway: Duration,
    pub(super) claims: ClaimNames,
    pub(super) tenant: Option<Box<str>>,
}

/// What the signature of a token may be made with. What is not in this list cannot be configured:
/// `none` is no signature, and with `HS*` everybody who can check a token can make one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}

/// Under which claims an issuer says what we want to know. A name is looked up whole, then as a
/// path: `realm_access.roles` is the claim `roles` within the claim `realm_access`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimNames {
    pub groups: Box<str>,
    pub scopes: Box<str>,
    pub email: Box<str>,
    pub team: Box<str>,
    /// Others that are to be kept, for roles to be bound by.
    pub others: Box<[Box<str>]>,
}

/// Why an issuer cannot be configured as it was.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum IssuerError {
    #[error("the issuer is empty")]
    NoUrl,
    #[error("no audience is given: tokens that were made for others would be taken")]
    NoAudience,
    #[error("an audience is empty")]
    EmptyAudience,
    #[error("no algorithm is allowed")]
    NoAlgorithm,
    #[error("a leeway of {0:?} is more than the {MAX_LEEWAY:?} that are allowed")]
    Leeway(Duration),
}

/// An algorithm that cannot be allowed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum AlgorithmError {
    #[error("algorithm '{0}' can never be allowed: anybody can make such a token")]
    Forgeable(Box<str>),
    #[error("unknown algorithm '{name}', expected one of: {}", Algorithm::names())]
    Unknown { name: Box<str> },
}

impl Issuer {
    /// Tokens whose `iss` is `url`, letter for letter, and whose `aud` names any of `audiences`.
    pub fn new(
        url: impl Into<Box<str>>,
        audiences: Vec<Box<str>>,
        algorithms: Vec<Algorithm>,
    ) -> Result<Self, IssuerError> {
        let url = url.into();
        if url.is_empty() {
            return Err(IssuerError::NoUrl);
        }
        if audiences.is_empty() {
            return Err(IssuerError::NoAudience);
        }
        if audiences.iter().any(|audience| audience.is_empty()) {
            return Err(IssuerError::EmptyAudience);
        }
        if algorithms.is_empty() {
            return Err(IssuerError::NoAlgorithm);
        }
        Ok(Self {
            url,
            audiences,
            algorithms,
            leeway: MAX_LEEWAY,
            claims: ClaimNames::default(),
            tenant: None,
        })
    }

    /// How much its time may be off ours; a minute unless said.
    pub fn with_leeway(self, leeway: Duration) -> Result<Self, IssuerError> {
        match leeway <= MAX_LEEWAY {
            true => Ok(Self { leeway, ..self }),
            false => Err(IssuerError::Leeway(leeway)),
        }
    }

    /// Where it says what, if not under the usual names.
    pub fn with_claims(self, claims: ClaimNames) -> Self {
        Self { claims, ..self }
    }

    /// Whose its tokens are; nobody's unless said.
    pub fn with_tenant(self, tenant: Option<Box<str>>) -> Self {
        Self { tenant, ..self }
    }

    /// Its `iss`.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Default for ClaimNames {
    fn default() -> Self {
        Self {
            groups: "groups".into(),
            scopes: "scope".into(),
            email: "email".into(),
            team: "team".into(),
            others: Box::default(),
        }
    }
}

impl Algorithm {
    const ALL: [(&'static str, Self); 9] = [
        ("RS256", Self::Rs256),
        ("RS384", Self::Rs384),
        ("RS512", Self::Rs512),
        ("PS256", Self::Ps256),
        ("PS384", Self::Ps384),
        ("PS512", Self::Ps512),
        ("ES256", Self::Es256),
        ("ES384", Self::Es384),
        ("EdDSA", Self::EdDsa),
    ];

    fn names() -> String {
        Self::ALL.map(|(name, _)| name).join(", ")
    }

    /// The algorithm of that name, as a token's header writes it.
    pub(super) fn named(name: &str) -> Option<Self> {
        let (_, algorithm) = Self::ALL.iter().find(|(known, _)| *known == name)?;
        Some(*algorithm)
    }
}

impl FromStr for Algorithm {
    type Err = AlgorithmError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let forgeable = || {
            let upper = name.to_ascii_uppercase();
            upper == "NONE" || upper.starts_with("HS")
        };
        match Self::named(name) {
            Some(algorithm) => Ok(algorithm),
            None if forgeable() => Err(AlgorithmError::Forgeable(name.into())),
            None => Err(AlgorithmError::Unknown { name: name.into() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn algorithms_that_anybody_can_sign_with_cannot_be_configured() {
        for name in ["none", "None", "NONE", "HS256", "HS384", "HS512", "hs256"] {
            assert_eq!(
                name.parse::<Algorithm>(),
                Err(AlgorithmError::Forgeable(name.into()))
            );
        }
        for name in ["", "RS1", "rs256", "ES512", "ES256K", "RS256 ", "dir"] {
            assert_eq!(
                name.parse::<Algorithm>(),
                Err(AlgorithmError::Unknown { name: name.into() })
            );
        }
        for (name, algorithm) in Algorithm::ALL {
            assert_eq!(name.parse(), Ok(algorithm));
        }
    }

    #[test]
    fn an_issuer_has_an_audience_an_algorithm_and_at_most_a_minute() {
        let new = |url: &str, audiences: &[&str], algorithms: &[Algorithm]| {
            let audiences = audiences.iter().map(|&audience| audience.into()).collect();
            Issuer::new(url, audiences, algorithms.to_vec())
        };
        let algorithms = &[Algorithm::Rs256];
        assert_eq!(new("", &["us"], algorithms), Err(IssuerError::NoUrl));
        assert_eq!(new("i", &[], algorithms), Err(IssuerError::NoAudience));
        assert_eq!(
            new("i", &["us", ""], algorithms),
            Err(IssuerError::EmptyAudience)
        );
        assert_eq!(new("i", &["us"], &[]), Err(IssuerError::NoAlgorithm));

        let issuer = new("i", &["us"], algorithms).unwrap();
        let minute = Duration::from_secs(60);
        assert!(issuer.clone().with_leeway(minute).is_ok());
        let more = minute + Duration::from_millis(1);
        assert_eq!(issuer.with_leeway(more), Err(IssuerError::Leeway(more)));
    }
}
