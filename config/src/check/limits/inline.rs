//! Limits of a role, a key or a credential: `{requests_per_minute: 60, concurrency: 8}`.

use std::sync::Arc;

use turnpike_api::{Level, Limit, Measure, Window};

use crate::document::{Caps, LimitMap};
use crate::locate::Path;

use super::{Context, default_of, measure, minute, most};

/// Of each user who calls by the role `name`.
pub(in crate::check) fn of_role(
    name: &str,
    written: &LimitMap,
    at: &Path,
    context: &mut Context<'_>,
) -> Vec<Arc<Limit>> {
    all(written, Level::User, &format!("role:{name}"), at, context)
}

/// Of the configured key `name`.
pub(in crate::check) fn of_key(
    name: &str,
    written: &LimitMap,
    at: &Path,
    context: &mut Context<'_>,
) -> Vec<Arc<Limit>> {
    all(written, Level::Token, &format!("key:{name}"), at, context)
}

fn all(
    written: &LimitMap,
    level: Level,
    owner: &str,
    at: &Path,
    context: &mut Context<'_>,
) -> Vec<Arc<Limit>> {
    let mut plans = Vec::new();
    for (key, amount) in written.entries() {
        let window = match key.window {
            None => Some(Window::Running),
            Some(window) => context.calendars.window(window, "UTC").ok(),
        };
        let measure = measure(key.measure);
        let most = most(amount, measure, &at.field(key.name.clone()), context);
        if let (Some(window), Some(most)) = (window, most) {
            let name = format!("{owner}:{}", key.name);
            plans.push(limit(name, level, measure, window, most));
        }
    }
    plans
}

/// Of a credential. The schema has seen to the numbers.
pub(in crate::check) fn caps(written: &Caps) -> Vec<Arc<Limit>> {
    let Caps {
        concurrency,
        requests_per_minute,
        tokens_per_minute,
    } = *written;
    let rows = [
        ("concurrency", Measure::Concurrency, concurrency),
        (
            "requests_per_minute",
            Measure::Requests,
            requests_per_minute,
        ),
        ("tokens_per_minute", Measure::Tokens, tokens_per_minute),
    ];
    let rows = rows.into_iter().filter_map(|(key, measure, most)| {
        let most = most?;
        let window = match measure {
            Measure::Concurrency => Window::Running,
            _ => minute(),
        };
        let name = format!("cap:{key}");
        Some(limit(name, Level::Credential, measure, window, most))
    });
    rows.collect()
}

fn limit(name: String, level: Level, measure: Measure, window: Window, most: u64) -> Arc<Limit> {
    Arc::new(Limit {
        name: name.into(),
        level,
        only: None,
        measure,
        on_unavailable: default_of(&window),
        window,
        most,
    })
}
