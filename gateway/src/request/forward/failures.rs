//! What came of the attempts when none was committed, and what the caller is told.

use std::time::Duration;

use turnpike_api::{Clock, Fault, Level};
use turnpike_limits::Fallen;

use super::attempt::Received;
use super::exchange::Broken;
use super::is_of_quota;
use crate::context::Context;
use crate::refusal::{Reason, Refusal};
use crate::request::authorize::Permit;
use crate::request::route::Route;
use crate::request::{limit_fell, no_credential};

/// The failures of one request.
#[derive(Default)]
pub(super) struct Failures {
    /// The last refusal that is not about our own credentials.
    of_the_call: Option<Received>,
    /// That refusal was of a rate limit.
    is_limited: bool,
    /// How many said that our credential is not good.
    of_our_credentials: usize,
    /// One of them was for want of quota.
    pub(super) of_quota: bool,
    pub(super) broken: Option<Broken>,
    /// A credential that could not be asked for want of room in its caps, or in its model's limits.
    pub(super) capped: Option<Fallen>,
}

impl Failures {
    pub(super) fn refused(&mut self, fault: Fault, received: Received) {
        self.of_quota |= is_of_quota(fault);
        match fault {
            Fault::Unauthorized | Fault::PaymentRequired | Fault::Forbidden => {
                self.of_our_credentials += 1;
            }
            Fault::RateLimited
            | Fault::ModelNotFound
            | Fault::Overloaded
            | Fault::Timeout
            | Fault::ServerError
            | Fault::Unreachable => {
                self.is_limited = fault == Fault::RateLimited;
                self.of_the_call = Some(received);
            }
        }
    }

    /// The provider's own words where they are of the call. A limit of ours, or a credential that
    /// is not good, is none of the caller's: an agent that is shown a provider's 401 blames its
    /// own token. It is told when we are back instead.
    pub(super) fn last_word(
        self,
        route: &Route,
        permit: &Permit,
        context: &Context<'_>,
    ) -> Result<Received, Refusal> {
        let pool = route.pool();
        let now = context.runtime.board.time.now();
        let outlook = pool.outlook(now, permit.ask().operation);
        let all_gone = outlook.ready == 0;
        let gone = || no_credential::refusal(pool, &outlook, &permit.ask().model, now);
        let providers = pool.providers.join(", ");
        match (self.of_the_call, self.broken) {
            (Some(_), _) if self.is_limited && all_gone => Err(gone()),
            (Some(received), _) => Ok(received),
            (None, Some(broken)) => Err(broken.refusal(&providers)),
            (None, None) if let Some(fallen) = self.capped => {
                Err(capped(&fallen, &providers, &permit.ask().model, context))
            }
            (None, None) if self.of_our_credentials > 0 && !all_gone => {
                Err(refused_by_provider(self.of_our_credentials, &providers))
            }
            // Some are ready, and yet none was tried: there was no time left.
            (None, None) if !all_gone => Err(Broken::TimedOut(Duration::ZERO).refusal(&providers)),
            (None, None) => Err(gone()),
        }
    }
}

/// A model's limit is the caller's to know, and a credential's caps are not.
fn capped(fallen: &Fallen, providers: &str, model: &str, context: &Context<'_>) -> Refusal {
    match fallen.limit.level {
        Level::Model => {
            let (now, status) = (context.runtime.limits.now(), context.snapshot.spent_status);
            limit_fell::refusal(fallen, now, status)
        }
        _ => no_credential::capped(fallen, providers, model, context),
    }
}

fn refused_by_provider(refused: usize, providers: &str) -> Refusal {
    let which = match refused {
        1 => "the credential tried was".to_owned(),
        _ => format!("the {refused} credentials tried were"),
    };
    Refusal::new(
        Reason::NoCredential,
        format!(
            "No credentials for provider {providers}: {which} refused by the provider; this is not your key's fault"
        ),
    )
}
