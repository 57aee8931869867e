//! The models a credential is restricted to.

use turnpike_api::{Answer, Ask, Authorizer, Decision, Denial, Identity};

/// Grants what the caller's own credential grants. A call that names no model (a file) is not
/// about one, and is granted.
pub struct KeyModels;

impl Authorizer for KeyModels {
    fn authorize<'a>(&'a self, identity: &'a Identity, ask: &'a Ask) -> Answer<'a, Decision> {
        let granted = ask.model.is_empty() || identity.models.allow(&ask.model);
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
