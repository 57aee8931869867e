//! Whose somebody who logged in is: by the provider, the address, the host, or the authorization API.

use tracing::warn;
use turnpike_audit::events::Login;
use turnpike_identity::sso::Person;

use super::desk::Desk;
use super::problem::Problem;
use crate::audit::person as person_of;
use crate::authorization;
use crate::tenant::{NOT_HERE, Tenant, Whose};

/// The person as one of their tenant. At another tenant's host they are nobody.
pub(super) fn whose(
    desk: &Desk,
    person: Person,
    provider: &str,
) -> Result<(Person, Whose), Problem> {
    let at = &desk.tenant;
    let of = |tenant: &Tenant| Person {
        tenant: tenant.name().map(str::to_owned),
        ..person.clone()
    };
    if at.has_own_providers {
        return Ok((of(at), Whose::Known));
    }
    let attributes = person.owner().attributes();
    let by_address = desk.snapshot.tenants.by_address(&attributes);
    match by_address {
        Some(tenant) => {
            let person = of(tenant);
            // Who has providers of their own is let in by nobody else's.
            match desk.is_here(&person) && !tenant.has_own_providers {
                true => Ok((person, Whose::Known)),
                false => Err(not_here(desk, &person, provider)),
            }
        }
        // No address that is proven is no address of theirs either.
        None if at.has_domains => Ok((of(at), Whose::Outside)),
        None => Ok((of(at), Whose::Assumed)),
    }
}

/// The person as one of the tenant that the authorization API names, if that can be.
pub(super) fn assigned(
    desk: &Desk,
    person: Person,
    whose: Whose,
    named: Option<&str>,
    provider: &str,
) -> Result<Person, Problem> {
    let tenants = &desk.snapshot.tenants;
    authorization::tell_unknown_tenant(named, tenants, person.shown());
    match tenants.assigned(desk.tenant_of(&person), whose, named, &desk.tenant) {
        Some(tenant) => Ok(Person {
            tenant: tenant.name().map(str::to_owned),
            ..person
        }),
        None => Err(not_here(desk, &person, provider)),
    }
}

pub(super) fn not_here(desk: &Desk, person: &Person, provider: &str) -> Problem {
    let at = desk.tenant.name().unwrap_or_default();
    desk.told(Login {
        outcome: "denied",
        provider: Some(provider),
        who: person_of(person),
        client: Some(desk.client),
        reason: Some("not_of_this_tenant"),
        untold: None,
    });
    warn!(
        person = person.shown(),
        of = person.tenant,
        at,
        client = %desk.client,
        "login denied: not of this tenant"
    );
    Problem::denied(NOT_HERE)
}
