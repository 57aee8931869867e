use crate::{Answer, Ask, Identity};

/// Why a caller may not ask what it asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denial {
    /// The model is not among those its credential or roles grant.
    Model,
}

/// What one authorizer says. All are asked; any [`Deny`](Self::Deny) wins, and without an
/// [`Allow`](Self::Allow) nothing is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// No opinion.
    Abstain,
    /// Granted.
    Allow,
    /// Refused.
    Deny(Denial),
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
}
