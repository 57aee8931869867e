//! May they ask it? The fold over the authorizers is the only place where a permit is made.

use std::sync::Arc;

use turnpike_api::{Ask, Decision, Denial, Identity, Permission, Service};

use crate::context::Context;
use crate::refusal::{Reason, Refusal};
use crate::tenant::Tenant;
use crate::upstream::Pool;

/// The evidence that the caller may ask this.
pub struct Permit {
    ask: Ask,
    granted: Granted,
}

/// By whom a caller may be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Granted {
    /// Whoever serves the model.
    All,
    /// Some of them; the authorizers say which.
    Some,
}

impl Permit {
    /// What they may ask.
    pub fn ask(&self) -> &Ask {
        &self.ask
    }

    /// By whom they may be served.
    pub fn granted(&self) -> Granted {
        self.granted
    }
}

/// Asks every authorizer. Any deny wins, and without an allow nothing is allowed.
pub async fn authorize(
    identity: &Identity,
    ask: Ask,
    context: &Context<'_>,
) -> Result<Permit, Refusal> {
    match decide(identity, &ask, &context.tenant).await {
        Ok(granted) => Ok(Permit { ask, granted }),
        Err(denial) => Err(refusal(&denial, &ask.model)),
    }
}

/// The decision alone, for listings and for models that stand in.
pub async fn decide(identity: &Identity, ask: &Ask, tenant: &Tenant) -> Result<Granted, Denial> {
    let (mut allowed, mut granted) = (false, Granted::All);
    for authorizer in &*tenant.authorizers {
        match authorizer.authorize(identity, ask).get().await {
            Decision::Deny(denial) => return Err(denial),
            Decision::Allow => allowed = true,
            Decision::AllowSome => (allowed, granted) = (true, Granted::Some),
            Decision::Abstain => {}
        }
    }
    match allowed {
        true => Ok(granted),
        false => Err(Denial::Model),
    }
}

/// As much of the asked model's pool as the caller may be served by; `None` = nothing of it.
pub fn granted_pool(
    pool: &Arc<Pool>,
    granted: Granted,
    identity: &Identity,
    ask: &Ask,
    tenant: &Tenant,
) -> Option<Arc<Pool>> {
    match granted {
        Granted::All => Some(pool.clone()),
        Granted::Some => tenant.catalogue().narrow(pool, |part| {
            let service = Service {
                provider: &part.provider,
                bare: part.bare(&ask.model),
                model: &part.model,
            };
            let mut authorizers = tenant.authorizers.iter();
            authorizers.all(|authorizer| authorizer.permits(identity, ask, &service))
        }),
    }
}

/// What a caller is told who may not.
pub fn refusal(denial: &Denial, model: &str) -> Refusal {
    match denial {
        Denial::Model => Refusal::new(
            Reason::ModelDenied,
            format!(
                "your key may not use the model {:?}; GET /v1/models lists those it may",
                shown(model)
            ),
        ),
        Denial::Authorization(why) => Refusal::new(
            Reason::AuthorizationDenied,
            match &**why {
                "" => "Access denied: ask your platform team".to_owned(),
                why => format!("Access denied: {why}"),
            },
        ),
        Denial::Permission(permission) => {
            let what = match permission {
                Permission::Read => "list models or count tokens",
                Permission::Write => "use models",
            };
            Refusal::new(
                Reason::PermissionDenied,
                format!(
                    "your key may not {what}: no role that you have grants `{}`; ask your platform team for one",
                    permission.as_str()
                ),
            )
        }
    }
}

/// As much of a name as a message shows.
pub fn shown(model: &str) -> String {
    model.chars().take(80).collect()
}
