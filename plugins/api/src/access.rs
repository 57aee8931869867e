use std::sync::Arc;

use crate::{Answer, Ask, Identity, Permission};

/// Why a caller may not ask what it asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denial {
    /// The model is not among those its credential or roles grant.
    Model,
    /// No role grants it calls of this kind, whatever the model.
    Permission(Permission),
    /// The authorization API does not let it in, with these words; empty = it gave none.
    Authorization(Arc<str>),
}

/// What one authorizer says. All are asked; any [`Deny`](Self::Deny) wins, and without an
/// allowance nothing is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// No opinion.
    Abstain,
    /// Granted, whoever serves it.
    Allow,
    /// Granted where [`Authorizer::permits`] says so of who would serve it.
    AllowSome,
    /// Refused.
    Deny(Denial),
}

/// One way in which a call could be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Service<'a> {
    /// The provider's name.
    pub provider: &'a str,
    /// The asked model without the prefix of who would serve it.
    pub bare: &'a str,
    /// What the provider calls it: for an alias, what that stands for.
    pub model: &'a str,
}

/// Decides whether a known caller may ask something.
///
/// ```
/// use turnpike_api::{Answer, Ask, Authorizer, Decision, Denial, Identity};
///
/// struct NoStreams;
///
/// impl Authorizer for NoStreams {
///     fn authorize<'a>(&'a self, _: &'a Identity, ask: &'a Ask) -> Answer<'a, Decision> {
///         Answer::Ready(if ask.stream { Decision::Deny(Denial::Model) } else { Decision::Allow })
///     }
/// }
/// ```
pub trait Authorizer: Send + Sync {
    /// Judges one request. Depends on nothing but its arguments and the authorizer's own
    /// configuration: asked twice, it answers the same.
    fn authorize<'a>(&'a self, identity: &'a Identity, ask: &'a Ask) -> Answer<'a, Decision>;

    /// Whether an ask that it did not deny may be served so. Pure and quick: it is asked of every
    /// way there is, once some authorizer has said [`AllowSome`](Decision::AllowSome).
    fn permits(&self, identity: &Identity, ask: &Ask, service: &Service<'_>) -> bool {
        let _ = (identity, ask, service);
        true
    }
}
