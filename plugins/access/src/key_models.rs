//! The models a credential is restricted to.

use turnpike_api::{Answer, Ask, Authorizer, Decision, Denial, Identity, Service};

/// Grants what the caller's own credential grants. A call that names no model (files, or a provider
/// left to choose one) cannot be judged by its model: only a credential for every model may make it.
///
/// What is denied is denied under every name: as the caller writes it, without a prefix, and as what
/// an alias stands for.
pub struct KeyModels;

impl Authorizer for KeyModels {
    fn authorize<'a>(&'a self, identity: &'a Identity, ask: &'a Ask) -> Answer<'a, Decision> {
        let rules = &identity.models;
        let granted = match &*ask.model {
            "" => rules.is_any(),
            model => rules.allow(model),
        };
        Answer::Ready(match granted {
            true if rules.has_denials() => Decision::AllowSome,
            true => Decision::Allow,
            false => Decision::Deny(Denial::Model),
        })
    }

    fn permits(&self, identity: &Identity, _: &Ask, service: &Service<'_>) -> bool {
        let rules = &identity.models;
        !rules.denies(service.bare) && !rules.denies(service.model)
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
