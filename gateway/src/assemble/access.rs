//! What callers may do, and the configured keys, of which that is known at once.

use std::collections::BTreeSet;
use std::sync::Arc;

use turnpike_access::{Binding, Matchers, RoleTable};
use turnpike_api::{Attributes, Identity, ModelRules, Role, Secret};
use turnpike_config::plan::{ClientKeyPlan, Plan, RoleBindingPlan, RolePlan};
use turnpike_identity::agent_tokens::Binding as Whence;

/// The roles and who has them; `None` = everything is allowed.
pub(super) fn roles(roles: &[RolePlan], bindings: &[RoleBindingPlan]) -> Option<Arc<RoleTable>> {
    if roles.is_empty() {
        return None;
    }
    let roles = roles.iter().map(role);
    let bindings = bindings.iter().map(binding);
    Some(Arc::new(RoleTable::new(
        roles.collect(),
        bindings.collect(),
    )))
}

fn role(plan: &RolePlan) -> Role {
    let management = plan.management.iter();
    Role {
        name: plan.name.as_str().into(),
        models: ModelRules::new(&plan.models),
        providers: ModelRules::new(&plan.providers),
        permissions: plan.permissions.clone(),
        management: management.map(|scope| scope.as_str().into()).collect(),
    }
}

/// The roles that are good from some places only.
pub(super) fn bound(roles: &[RolePlan]) -> Arc<[(Box<str>, Whence)]> {
    let bound = roles.iter().map(|role| {
        let whence = Whence {
            cidrs: role.cidrs.clone(),
            certificates: role.certificates.clone(),
        };
        (role.name.as_str().into(), whence)
    });
    bound.filter(|(_, whence)| !whence.is_empty()).collect()
}

fn binding(plan: &RoleBindingPlan) -> Binding {
    let claims = plan.claims.iter();
    Binding {
        role: plan.role.as_str().into(),
        matchers: Matchers {
            everyone: plan.everyone,
            issuers: boxed(&plan.issuers),
            groups: boxed(&plan.groups),
            scopes: boxed(&plan.scopes),
            claims: claims
                .map(|(name, value)| (name.as_str().into(), value.as_str().into()))
                .collect(),
            email_domains: boxed(&plan.email_domains),
            users: boxed(&plan.users),
            tokens: boxed(&plan.tokens),
            api_keys: boxed(&plan.api_keys),
        },
    }
}

/// The claims that bindings name: no others are kept of a token or a login.
pub(crate) fn claims(plan: &Plan) -> Vec<Box<str>> {
    let own = plan.tenants.iter().filter_map(|one| one.access.as_ref());
    let own = own.flat_map(|access| &access.role_bindings);
    let bindings = plan.role_bindings.iter().chain(own);
    let claims = bindings.flat_map(|binding| &binding.claims);
    let names: BTreeSet<&str> = claims.map(|(name, _)| name.as_str()).collect();
    names.into_iter().map(Box::from).collect()
}

/// The configured keys, each with who holds it.
pub(super) fn client_keys(plan: &Plan) -> Vec<(Secret, Arc<Identity>)> {
    let keys = plan.client_keys.iter();
    keys.map(|key| (key.key.clone(), Arc::new(holder(key))))
        .collect()
}

fn holder(key: &ClientKeyPlan) -> Identity {
    let models = key.models.as_ref();
    let models = models.map_or_else(ModelRules::any, ModelRules::new);
    Identity::new(key.name.as_str(), models).with(Attributes {
        tenant: key.tenant.as_deref().map(Box::from),
        api_key: Some(key.name.as_str().into()),
        roles: boxed(&key.roles),
        ..Attributes::default()
    })
}

fn boxed(words: &[String]) -> Vec<Box<str>> {
    words.iter().map(|word| word.as_str().into()).collect()
}
