//! May they ask it? The fold over the authorizers is the only place where a permit is made.

use turnpike_api::{Ask, Decision, Denial, Identity};

use crate::context::Context;
use crate::refusal::{Reason, Refusal};
use crate::snapshot::Snapshot;

/// The evidence that the caller may ask this.
pub struct Permit {
    ask: Ask,
}

impl Permit {
    /// What they may ask.
    pub fn ask(&self) -> &Ask {
        &self.ask
    }
}

/// Asks every authorizer. Any deny wins, and without an allow nothing is allowed.
pub async fn authorize(
    identity: &Identity,
    ask: Ask,
    context: &Context<'_>,
) -> Result<Permit, Refusal> {
    match decide(identity, &ask, &context.snapshot).await {
        Ok(()) => Ok(Permit { ask }),
        Err(Denial::Model) => Err(Refusal::new(
            Reason::ModelDenied,
            format!(
                "your key may not use the model {:?}; GET /v1/models lists those it may",
                shown(&ask.model)
            ),
        )),
    }
}

/// The decision alone, for listings.
pub async fn decide(identity: &Identity, ask: &Ask, snapshot: &Snapshot) -> Result<(), Denial> {
    let mut allowed = false;
    for authorizer in &snapshot.authorizers {
        match authorizer.authorize(identity, ask).get().await {
            Decision::Deny(denial) => return Err(denial),
            Decision::Allow => allowed = true,
            Decision::Abstain => {}
        }
    }
    if allowed { Ok(()) } else { Err(Denial::Model) }
}

/// As much of a name as a message shows.
pub fn shown(model: &str) -> String {
    model.chars().take(80).collect()
}
