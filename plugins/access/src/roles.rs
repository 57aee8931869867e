//! What the roles in effect for a caller grant (F30).
//!
//! A call is allowed where one role grants all of it: the kind of call, the model, and who serves it.
//! Two roles do not add up to what neither grants. What any of them denies is denied.

use std::sync::Arc;

use turnpike_api::{Answer, Ask, Authorizer, Decision, Denial, Grants, Identity, Role, Service};

use crate::RoleTable;

/// Judges by roles, where there are any. Without, it has no opinion.
pub struct Roles(Option<Arc<RoleTable>>);

impl Roles {
    /// Of a configuration's table.
    pub fn new(table: Option<Arc<RoleTable>>) -> Self {
        Self(table)
    }
}

impl RoleTable {
    /// The names of the roles by which a caller may make such a call: their limits are its own.
    pub fn granting(&self, identity: &Identity, ask: &Ask) -> Vec<Arc<str>> {
        self.with_grants(identity, |grants| {
            granting(grants, ask)
                .map(|role| role.name.clone())
                .collect()
        })
    }
}

impl Authorizer for Roles {
    fn authorize<'a>(&'a self, identity: &'a Identity, ask: &'a Ask) -> Answer<'a, Decision> {
        Answer::Ready(match &self.0 {
            None => Decision::Abstain,
            Some(table) => table.with_grants(identity, |grants| judge(grants, ask)),
        })
    }

    fn permits(&self, identity: &Identity, ask: &Ask, service: &Service<'_>) -> bool {
        match &self.0 {
            None => true,
            Some(table) => table.with_grants(identity, |grants| permits(grants, ask, service)),
        }
    }
}

fn judge(grants: &Grants, ask: &Ask) -> Decision {
    let permission = ask.operation.permission();
    let roles = &grants.roles;
    if !roles.iter().any(|role| role.grants(permission)) {
        return Decision::Deny(Denial::Permission(permission));
    }
    let has_denials = roles.iter().any(|role| role.has_denials());
    let mut granting = granting(grants, ask).peekable();
    if granting.peek().is_none() || (has_denials && is_denied(grants, &ask.model)) {
        return Decision::Deny(Denial::Model);
    }
    match !has_denials && granting.any(|role| role.providers.grants_any()) {
        true => Decision::Allow,
        false => Decision::AllowSome,
    }
}

fn permits(grants: &Grants, ask: &Ask, service: &Service<'_>) -> bool {
    let denies = |role: &Arc<Role>| {
        role.models.denies(service.bare)
            || role.models.denies(service.model)
            || role.providers.denies(service.provider)
    };
    !grants.roles.iter().any(denies)
        && granting(grants, ask).any(|role| role.providers.grants(service.provider))
}

/// The roles that grant such a call of this model.
fn granting<'g>(grants: &'g Grants, ask: &'g Ask) -> impl Iterator<Item = &'g Arc<Role>> {
    let permission = ask.operation.permission();
    grants.roles.iter().filter(move |role| {
        let grants_model = match &*ask.model {
            // What such a call is about cannot be told: only who may use every model may make it.
            "" => role.models.grants_any(),
            model => role.models.grants(model),
        };
        role.grants(permission) && grants_model
    })
}

/// Whether a role denies the model as the caller writes it. A call without one may be about any.
fn is_denied(grants: &Grants, model: &str) -> bool {
    grants.roles.iter().any(|role| match model {
        "" => role.models.has_denials(),
        model => role.models.denies(model),
    })
}

#[cfg(test)]
mod tests;
