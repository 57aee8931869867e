//! The words for a pool of which nobody can serve: how many are away, why, and when the first is
//! back.

use turnpike_api::Window;
use turnpike_limits::{Fallen, Why};

use super::authorize::shown;
use super::limit_fell;
use crate::context::Context;
use crate::refusal::{Comeback, Reason, Refusal, Told};
use crate::upstream::Pool;
use crate::upstream::outlook::Outlook;
use crate::upstream::quota::is_quota;
use crate::upstream::roll::cause;

/// Says why, and when to try again where that is known.
pub fn refusal(pool: &Pool, outlook: &Outlook, model: &str, now: u64) -> Refusal {
    let providers = pool.providers.join(", ");
    let why = why(&classes(pool, outlook));
    let Some((provider, back)) = &outlook.soonest else {
        return Refusal::new(
            Reason::NoCredential,
            format!("No credentials for provider {providers}: {why}"),
        );
    };
    let comeback = Comeback::new(shown(model), provider, *back, now);
    Refusal {
        comeback: Some(Box::new(comeback.clone())),
        ..Refusal::new(
            Reason::ModelCooldown,
            format!(
                "No credentials for provider {providers}: {why}; try again in {} s, at {}",
                comeback.seconds, comeback.time
            ),
        )
    }
}

/// Who could serve may be asked no more for now: their caps have no room.
pub fn capped(fallen: &Fallen, providers: &str, model: &str, context: &Context<'_>) -> Refusal {
    let now = context.runtime.limits.now();
    let told = Told {
        left: None,
        ..limit_fell::told(fallen, now)
    };
    let cap = &fallen.limit.name;
    if matches!(fallen.why, Why::Away | Why::Unheard) {
        return limit_fell::refusal(fallen, now, context.snapshot.spent_status);
    }
    let is_quota = is_quota(&fallen.limit);
    let refusal = match fallen.limit.window {
        _ if is_quota && fallen.resets_at.is_none() => Refusal::new(
            Reason::NoCredential,
            format!(
                "No credentials for provider {providers}: those that are ready have less left of their quotas than this call may need"
            ),
        ),
        Window::Total => Refusal::new(
            Reason::NoCredential,
            format!(
                "No credentials for provider {providers}: those that are ready have used up what they may ({cap})"
            ),
        ),
        _ => {
            let back = now + told.wait;
            let comeback = Comeback::new(shown(model), providers, back, now);
            let why = match is_quota {
                true => "have less left of their quotas than this call may need".to_owned(),
                false => format!("are at their caps ({cap})"),
            };
            let message = format!(
                "No credentials for provider {providers}: those that are ready {why}; try again in {} s",
                comeback.seconds
            );
            Refusal {
                comeback: Some(Box::new(comeback)),
                ..Refusal::new(Reason::ModelCooldown, message)
            }
        }
    };
    Refusal {
        limit: Some(Box::new(told)),
        ..refusal
    }
}

/// How many there are of each kind, in words that stand behind "are".
fn classes(pool: &Pool, outlook: &Outlook) -> Vec<(usize, &'static str)> {
    let cooling = outlook.faults.iter();
    let cooling = cooling.map(|&(fault, count)| (count, cause(fault)));
    let others = [
        (outlook.exhausted, "exhausted (quota spent)"),
        (outlook.expired, "expired (access token too old)"),
        (pool.unusable.disabled, "disabled"),
        (pool.unusable.broken, "in error (file not readable)"),
    ];
    cooling
        .chain(others)
        .filter(|(count, _)| *count > 0)
        .collect()
}

fn why(classes: &[(usize, &'static str)]) -> String {
    match classes {
        [] => "none are configured".to_owned(),
        [(1, class)] => format!("the only one is {class}"),
        [(count, class)] => format!("all {count} are {class}"),
        several => {
            let counted = several.iter().map(|(count, class)| match count {
                1 => format!("1 is {class}"),
                _ => format!("{count} are {class}"),
            });
            counted.collect::<Vec<_>>().join(", ")
        }
    }
}
