//! The section `api_keys`, and the key of the environment.

use std::collections::HashMap;

use turnpike_api::Secret;

use crate::document::ClientKeyEntry;
use crate::locate::Path;
use crate::plan::ClientKeyPlan;

use super::{Context, limits};

/// One more client key, for those who move here from a proxy that knows it.
const VARIABLE: &str = "CLI_PROXY_API_KEY";

/// Where a client key comes from.
enum Place {
    /// An entry of the list, and the key of it that holds the secret.
    Entry {
        entry: Path,
        secret: Path,
    },
    Variable,
}

impl Place {
    fn secret(&self, message: impl Into<String>, context: &mut Context<'_>) {
        match self {
            Self::Entry { secret, .. } => context.report.at(secret, message),
            Self::Variable => context.report.variable(VARIABLE, message),
        }
    }

    fn name(&self, message: impl Into<String>, context: &mut Context<'_>) {
        match self {
            Self::Entry { entry, .. } => context.report.at(&entry.field("name"), message),
            Self::Variable => context.report.variable(VARIABLE, message),
        }
    }

    fn shown(&self, context: &Context<'_>) -> String {
        match self {
            Self::Entry { entry, .. } => context.report.whereabouts(entry),
            Self::Variable => format!("`{VARIABLE}`"),
        }
    }
}

pub(super) fn client_keys(
    written: &[ClientKeyEntry],
    context: &mut Context<'_>,
) -> Vec<ClientKeyPlan> {
    let section = Path::default().field("api_keys");
    let mut keys = Vec::new();
    for (index, written) in written.iter().enumerate() {
        let entry = section.item(index);
        let key = client_key(written, index, &entry, context);
        let secret = if written.full().is_some() {
            entry.field("key")
        } else {
            entry.clone()
        };
        keys.push((Place::Entry { entry, secret }, key));
    }
    if let Some((name, value)) = context.environment.first(&[VARIABLE]) {
        let key = ClientKeyPlan {
            name: name.into(),
            key: Secret::new(value),
            models: None,
            tenant: None,
            roles: Vec::new(),
            limits: Vec::new(),
        };
        keys.push((Place::Variable, key));
    }
    let mut by_key = HashMap::new();
    let mut by_name = HashMap::new();
    for (place, key) in &keys {
        if let Err(message) = check_key(&key.key) {
            place.secret(message, context);
        }
        if let Some(twin) = by_key.insert(key.key.expose(), place) {
            let twin = Place::shown(twin, context);
            place.secret(format!("the same key as {twin}; remove one"), context);
        }
        if let Some(twin) = by_name.insert(key.name.as_str(), place) {
            let twin = Place::shown(twin, context);
            place.name(
                format!("`{}` is also the name of {twin}", key.name),
                context,
            );
        }
    }
    keys.into_iter().map(|(_, key)| key).collect()
}

fn client_key(
    entry: &ClientKeyEntry,
    index: usize,
    at: &Path,
    context: &mut Context<'_>,
) -> ClientKeyPlan {
    let full = entry.full();
    let name = full.and_then(|full| full.name.clone());
    if name.as_deref().is_some_and(|name| !is_name(name)) {
        let message = "expected a name of printable characters";
        context.report.at(&at.field("name"), message);
    }
    let models = full.and_then(|full| full.models.clone());
    if let Some(models) = &models {
        check_models(models, &at.field("models"), context);
    }
    let name = name.unwrap_or_else(|| format!("key-{}", index + 1));
    let limits = full.map_or_else(Vec::new, |full| {
        limits::of_key(&name, &full.limits, &at.field("limits"), context)
    });
    ClientKeyPlan {
        name,
        key: entry.key().0.clone(),
        models,
        tenant: full.and_then(|full| full.tenant.clone()),
        roles: full.map_or_else(Vec::new, |full| full.roles.clone()),
        limits,
    }
}

fn check_models(models: &[String], key: &Path, context: &mut Context<'_>) {
    let denies = |rule: &String| rule.trim_start().starts_with('!');
    for (index, rule) in models.iter().enumerate() {
        if rule.trim().trim_start_matches('!').is_empty() {
            context.report.at(
                &key.item(index),
                "expected the name of a model, such as gpt-*",
            );
        }
    }
    if models.is_empty() {
        let message = "empty, so this key could use no model; leave `models` out for any";
        context.report.at(key, message);
    } else if models.iter().all(denies) {
        let message = "every rule denies, so this key can use no model; add \"*\" for all others";
        context.warn(key, message);
    }
}

/// A key must survive a header and a shell, and be one's own.
pub(super) fn check_key(key: &Secret) -> Result<(), &'static str> {
    if !key.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("a key must be of printable ASCII characters without blanks");
    }
    refuse_placeholder(key)
}

/// Values that examples carry, which everyone knows.
pub(super) fn refuse_placeholder(secret: &Secret) -> Result<(), &'static str> {
    match secret.is_placeholder() {
        true => Err("a placeholder from an example; write a key of your own"),
        false => Ok(()),
    }
}

pub(super) fn is_name(name: &str) -> bool {
    !name.trim().is_empty() && name.len() <= 200 && !name.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_and_unusable_keys_are_refused() {
        for bad in [
            "your-api-key-1",
            "YOUR-API-KEY-HERE",
            "your_api_key",
            "sk-your-api-key-abc",
            "ChangeMe",
            "two words",
            "tab\there",
            "schlüssel",
        ] {
            assert!(check_key(&Secret::new(bad)).is_err(), "{bad}");
        }
        assert!(check_key(&Secret::new("sk-your-own-9f3a")).is_ok());
    }
}
