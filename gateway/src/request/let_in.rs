//! Is somebody let in who has no login (F25)? What the authorization API says of a caller with a signed
//! token counts as it does of who logs in: it may name their roles, and the tenant that they are of.

use std::net::IpAddr;
use std::sync::Arc;

use turnpike_api::{Identity, LetIn};
use turnpike_identity::sso::authorization::{Denied, Granted};

use crate::authorization::{self, AuthorizationApi, Kept};
use crate::tenant::{NOT_HERE, Place, Tenant, Tenants, ToAsk, Whose};

/// Who they are by what is said of them, and for whom they act; `None` = nobody is known by this
/// credential here.
pub(super) async fn let_in<'t>(
    ask: ToAsk<'t>,
    client: IpAddr,
    here: Option<&Place>,
    tenants: &'t Tenants,
) -> Option<(Arc<Identity>, &'t Arc<Tenant>)> {
    let (identity, tenant, whose) = (&ask.identity, ask.tenant, ask.whose);
    let kept = ask.api.says_of(&ask, client, tenants).await;
    let granted = match &kept.said {
        Ok(granted) => granted,
        // Who is not of here is nobody, whatever is said of them.
        Err(_) if whose == Whose::Outside => return None,
        Err(denied) => return Some((refused(identity, denied), tenant)),
    };
    let named = granted.tenant.as_deref();
    let at = here.map_or(&tenants.house, |here| &here.tenant);
    let Some(assigned) = tenants.assigned(tenant, whose, named, at) else {
        let is_known_here = whose == Whose::Known || here.is_none();
        return is_known_here.then(|| (refused(identity, &not_here()), tenant));
    };
    let own = Own::of(assigned, ask.api).filter(|_| whose != Whose::Known && named.is_some());
    let (granted, until) = match own {
        None => (granted.clone(), kept.until),
        Some(Own::Nobody) => (Granted::default(), kept.until),
        // Who has been assigned to a tenant is let in as that says, too.
        Some(Own::Other(api)) => {
            let asked = ToAsk {
                identity: identity.clone(),
                tenant: assigned,
                whose: Whose::Known,
                api,
            };
            let own = api.says_of(&asked, client, tenants).await;
            match of_assigned(&own, named) {
                Ok(granted) => (granted, kept.until.min(own.until)),
                Err(denied) => return Some((refused(identity, &denied), tenant)),
            }
        }
    };
    authorization::tell_unknown_roles(&granted.roles, assigned.roles.as_deref(), &identity.name);
    let acting = Arc::new(acting(identity, assigned, &granted));
    tenants.keep(ask, acting.clone(), until);
    Some((acting, assigned))
}

/// Whom a tenant asks about its people, where that is not who was asked.
enum Own<'a> {
    Nobody,
    Other(&'a AuthorizationApi),
}

impl<'a> Own<'a> {
    fn of(tenant: &'a Tenant, asked: &AuthorizationApi) -> Option<Self> {
        match tenant.api.as_deref() {
            None => Some(Self::Nobody),
            Some(own) if own.is(asked) => None,
            Some(own) => Some(Self::Other(own)),
        }
    }
}

fn of_assigned(own: &Kept, named: Option<&str>) -> Result<Granted, Denied> {
    match &own.said {
        Ok(granted) if granted.tenant.is_some() && granted.tenant.as_deref() != named => {
            Err(not_here())
        }
        said => said.clone(),
    }
}

fn not_here() -> Denied {
    Denied::Refused(NOT_HERE.into())
}

fn acting(identity: &Identity, tenant: &Tenant, granted: &Granted) -> Identity {
    let mut acting = identity.clone();
    acting.let_in = LetIn::Yes;
    acting.attributes.tenant = tenant.name().map(Box::from);
    let roles = granted.roles.iter();
    acting.attributes.roles = roles.map(|role| role.as_str().into()).collect();
    acting
}

/// Somebody whom the authorizers refuse, so that it is told and recorded as what they refuse is.
fn refused(identity: &Identity, denied: &Denied) -> Arc<Identity> {
    Arc::new(Identity {
        let_in: LetIn::No(denied.text().into()),
        ..identity.clone()
    })
}
