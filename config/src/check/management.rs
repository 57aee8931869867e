//! The keys of the management API: `admin.keys`, and `remote_management`.

use std::collections::HashMap;

use turnpike_api::Secret;

use crate::document::{AdminKey, AdminScope, Document};
use crate::locate::Path;
use crate::plan::{AdminKeyPlan, ClientKeyPlan, ManagementPlan, Scope};

use super::{Context, keys};

/// A key that is guessed is everything lost: shorter ones are not taken.
const SHORTEST: usize = 16;

pub(super) fn management(
    document: &Document,
    client_keys: &[ClientKeyPlan],
    context: &mut Context<'_>,
) -> ManagementPlan {
    let section = Path::default().field("admin").field("keys");
    let mut found = Vec::new();
    for (index, written) in document.admin.keys.iter().enumerate() {
        let at = section.item(index);
        let key = admin_key(written, index, &at, context);
        found.push((at.field("key"), at.field("name"), key));
    }
    let remote = &document.remote_management;
    if let Some(key) = &remote.secret_key.0 {
        let at = Path::default()
            .field("remote_management")
            .field("secret_key");
        let key = AdminKeyPlan {
            name: "remote_management".into(),
            key: key.clone(),
            scopes: vec![Scope::All],
        };
        found.push((at.clone(), at, key));
    }
    let mut by_key: HashMap<&str, &Path> = HashMap::new();
    let mut by_name: HashMap<&str, &Path> = HashMap::new();
    for (key_at, name_at, key) in &found {
        if let Err(message) = check_key(&key.key) {
            context.report.at(key_at, message);
        }
        if let Some(twin) = by_key.insert(key.key.expose(), key_at) {
            let twin = context.report.whereabouts(twin);
            let message = format!("the same key as {twin}; remove one");
            context.report.at(key_at, message);
        }
        if client_keys.iter().any(|client| client.key == key.key) {
            let message = "also a key of clients (`api_keys`), who could manage the gateway with it; make another one";
            context.report.at(key_at, message);
        }
        if let Some(twin) = by_name.insert(&key.name, name_at) {
            let twin = context.report.whereabouts(twin);
            let message = format!("`{}` is also the name of {twin}", key.name);
            context.report.at(name_at, message);
        }
    }
    ManagementPlan {
        keys: found.into_iter().map(|(_, _, key)| key).collect(),
        allow_remote: remote.allow_remote,
    }
}

fn admin_key(
    written: &AdminKey,
    index: usize,
    at: &Path,
    context: &mut Context<'_>,
) -> AdminKeyPlan {
    let name = written.name.clone();
    if name.as_deref().is_some_and(|name| !keys::is_name(name)) {
        let message = "expected a name of printable characters";
        context.report.at(&at.field("name"), message);
    }
    if written.scopes.is_empty() {
        let message = "empty, so this key could do nothing; leave `scopes` out for everything";
        context.report.at(&at.field("scopes"), message);
    }
    AdminKeyPlan {
        name: name.unwrap_or_else(|| format!("key-{}", index + 1)),
        key: written.key.0.clone(),
        scopes: written.scopes.iter().map(|scope| meant(*scope)).collect(),
    }
}

fn meant(scope: AdminScope) -> Scope {
    match scope {
        AdminScope::All => Scope::All,
        AdminScope::CredentialsRead => Scope::CredentialsRead,
        AdminScope::CredentialsWrite => Scope::CredentialsWrite,
        AdminScope::TokensRead => Scope::TokensRead,
        AdminScope::TokensWrite => Scope::TokensWrite,
        AdminScope::SessionsRead => Scope::SessionsRead,
        AdminScope::SessionsWrite => Scope::SessionsWrite,
        AdminScope::UsageRead => Scope::UsageRead,
        AdminScope::ConfigRead => Scope::ConfigRead,
        AdminScope::ConfigWrite => Scope::ConfigWrite,
        AdminScope::LogsRead => Scope::LogsRead,
        AdminScope::LogsWrite => Scope::LogsWrite,
    }
}

fn check_key(key: &Secret) -> Result<(), String> {
    keys::check_key(key)?;
    match key.expose().len() < SHORTEST {
        true => Err(format!(
            "a key of the management API has at least {SHORTEST} characters, such as `openssl rand -hex 32` makes"
        )),
        false => Ok(()),
    }
}
