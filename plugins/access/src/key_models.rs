//! The models a credential is restricted to.

use turnpike_api::{Answer, Ask, Authorizer, Decision, Denial, Identity};

/// Grants what the caller's own credential grants. A call that names no model (files, or a provider
/// left to choose one) cannot be judged by its model: only a credential for every model may make it.
pub struct KeyModels;

impl Authorizer for KeyModels {
    fn authorize<'a>(&'a self, identity: &'a Identity, ask: &'a Ask) -> Answer<'a, Decision> {
        let granted = match &*ask.model {
            "" => identity.models.is_any(),
            model => identity.models.allow(model),
        };
        Answer::Ready(if granted {
            Decision::Allow
        } else {
            Decision::Deny(Denial::Model)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conforms() {
        turnpike_api::testing::conforming_authorizer(&KeyModels);
    }
}
