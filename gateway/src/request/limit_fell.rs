//! What a person at an agent reads of a limit that fell.

use turnpike_api::{Limit, Measure, Window};
use turnpike_limits::{Fallen, Why};

use super::limit_headers::Left;
use crate::refusal::{Reason, Refusal, Told};
use crate::upstream::roll::time;

/// A limit does not admit a call. A spent budget is told with the status that the operator chose.
pub fn refusal(fallen: &Fallen, now: u64, spent_status: u16) -> Refusal {
    let limit = &*fallen.limit;
    let told = told(fallen, now);
    let (reason, message) = match fallen.why {
        Why::Away => (Reason::LimitsUnavailable, away(limit)),
        Why::Unheard => (Reason::LimitsUnavailable, unheard(limit)),
        Why::Share => (used_up(limit), share(limit, &told)),
        Why::Spent if limit.window.is_short() => (Reason::RateLimited, reached(limit, &told)),
        // Running calls seldom use all that was taken for them.
        Why::Spent if fallen.running > 0 && !is_used_up(fallen) => {
            (Reason::RateLimited, held(limit, &told))
        }
        Why::Spent => (used_up(limit), spent(limit, &told)),
    };
    let is_spent = matches!(reason, Reason::BudgetSpent | Reason::QuotaSpent);
    Refusal {
        limit: Some(Box::new(told)),
        status: is_spent.then_some(spent_status),
        ..Refusal::new(reason, message)
    }
}

/// What callers are told of it.
pub fn told(fallen: &Fallen, now: u64) -> Told {
    let limit = &*fallen.limit;
    Told {
        name: limit.name.to_string(),
        scope: limit.level.as_str(),
        measure: limit.measure.as_str(),
        window: limit.window.as_str(),
        limit: amount(limit.measure, limit.most),
        remaining: amount(limit.measure, fallen.remaining),
        reset_time: fallen.resets_at.map(time),
        wait: wait(fallen, now),
        // Of one that cannot be checked nobody knows.
        left: (fallen.why == Why::Spent)
            .then(|| Left::new(limit, fallen.remaining, fallen.resets_at, now)),
    }
}

/// What running calls hold would not suffice, were all of it given back.
fn is_used_up(fallen: &Fallen) -> bool {
    fallen.remaining.saturating_add(fallen.running) < fallen.needs
}

/// Milliseconds until there is something again; of running calls nobody knows.
fn wait(fallen: &Fallen, now: u64) -> u64 {
    let is_held = !fallen.limit.window.is_short() && fallen.running > 0 && !is_used_up(fallen);
    let until = fallen.resets_at.filter(|_| !is_held);
    let until = until.map(|at| at.saturating_sub(now));
    until.unwrap_or(1000).max(1)
}

fn used_up(limit: &Limit) -> Reason {
    match limit.measure {
        _ if limit.window.is_short() => Reason::RateLimited,
        Measure::Usd => Reason::BudgetSpent,
        _ => Reason::QuotaSpent,
    }
}

fn away(limit: &Limit) -> String {
    format!(
        "the limit {:?} cannot be checked: what replicas share is out of reach; try again in a moment",
        limit.name
    )
}

fn unheard(limit: &Limit) -> String {
    format!(
        "the limit {:?} cannot be checked: what replicas share was not in reach since this one started; try again in a moment",
        limit.name
    )
}

/// Of the limit there may be something left.
fn share(limit: &Limit, told: &Told) -> String {
    format!(
        "what this replica may use alone of the limit {:?} of {} is used up, and what replicas share is out of reach; try again in a moment",
        limit.name,
        what(limit, told)
    )
}

fn reached(limit: &Limit, told: &Told) -> String {
    let (name, what) = (&limit.name, what(limit, told));
    let seconds = told.wait.div_ceil(1000);
    format!("the limit {name:?} of {what} is reached; try again in {seconds} s")
}

fn held(limit: &Limit, told: &Told) -> String {
    let name = &limit.name;
    let (left, most) = (&told.remaining, counted(limit.measure, &told.limit));
    format!(
        "what is left of {name:?}, {left} of {most}, does not suffice while other calls run; try again in a moment"
    )
}

fn spent(limit: &Limit, told: &Told) -> String {
    let what = match limit.measure {
        Measure::Usd => "budget",
        _ => "quota",
    };
    let most = counted(limit.measure, &told.limit);
    let name = &limit.name;
    let is_spent = told.remaining.as_f64().is_none_or(|left| left <= 0.0);
    let is_spent = match is_spent {
        true => "is spent".to_owned(),
        false => format!("has {} left, less than this call may need", told.remaining),
    };
    match &told.reset_time {
        Some(time) => format!(
            "your {what} {name:?} of {most} a {} {is_spent}; it begins anew at {time}",
            told.window
        ),
        None => format!(
            "your {what} {name:?} of {most} in all {is_spent}; ask your platform team for more"
        ),
    }
}

fn what(limit: &Limit, told: &Told) -> String {
    let most = &told.limit;
    match limit.window {
        Window::Running => format!("{most} calls at a time"),
        Window::Total => format!("{} in all", counted(limit.measure, most)),
        _ => format!("{} a {}", counted(limit.measure, most), told.window),
    }
}

fn counted(measure: Measure, most: &serde_json::Number) -> String {
    match measure {
        Measure::Usd => format!("${most}"),
        Measure::Requests => format!("{most} requests"),
        Measure::Tokens => format!("{most} tokens"),
        Measure::InputTokens => format!("{most} input tokens"),
        Measure::OutputTokens => format!("{most} output tokens"),
        Measure::Concurrency => format!("{most} calls"),
    }
}

/// As the configuration writes it: money in dollars.
pub fn amount(measure: Measure, units: u64) -> serde_json::Number {
    let dollars = || serde_json::Number::from_f64(units as f64 / 1_000_000.0);
    match measure {
        Measure::Usd => dollars().unwrap_or_else(|| units.into()),
        _ => units.into(),
    }
}
