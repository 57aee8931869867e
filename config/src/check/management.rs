//! The keys of the management API: `admin.keys`, and `remote_management`.

use std::collections::HashMap;

use ::url::Url;
use turnpike_api::Secret;

use crate::document::{AdminKey, AdminScope, Document};
use crate::locate::Path;
use crate::plan::{
    AdminKeyPlan, ClientKeyPlan, ListenAddr, ManagementPlan, RolePlan, Scope, ServerPlan,
};

use super::{Context, keys, url};

/// A key that is guessed is everything lost: shorter ones are not taken.
const SHORTEST: usize = 16;

pub(super) fn management(
    document: &Document,
    (server, admin): (Option<&ServerPlan>, &ListenAddr),
    client_keys: &[ClientKeyPlan],
    context: &mut Context<'_>,
) -> Option<ManagementPlan> {
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
            tenant: None,
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
    let keys = found.into_iter().map(|(_, _, key)| key).collect();
    Some(ManagementPlan {
        keys,
        allow_remote: remote.allow_remote,
        public_url: public_url(document, server?, admin, context)?,
    })
}

/// Where operators' browsers find the pages, which are at the root of a host.
fn public_url(
    document: &Document,
    server: &ServerPlan,
    admin: &ListenAddr,
    context: &mut Context<'_>,
) -> Option<Url> {
    let key = Path::default().field("admin").field("public_url");
    let Some(written) = &document.admin.public_url else {
        // Port 0 asks for any free port: asked for twice, it is two.
        if *admin == server.listen && admin.port != 0 {
            return Some(server.public_url.clone());
        }
        // A bad host is reported as such.
        return url::base(&format!("http://{admin}")).ok();
    };
    let message = match url::base(written) {
        Ok(url) if url.path() == "/" => return Some(url),
        Ok(_) => "has a path; the operator's pages are below /admin at the root of a host",
        Err(message) => message,
    };
    context.report.at(&key, message);
    None
}

/// Roles that open the operator's pages to people who log in, where they cannot.
pub(super) fn warn_of_pages(
    document: &Document,
    (roles, has_logins): (&[RolePlan], bool),
    (server, admin): (Option<&ServerPlan>, &ListenAddr),
    context: &mut Context<'_>,
) {
    let opening: Vec<&RolePlan> = roles
        .iter()
        .filter(|role| !role.management.is_empty())
        .collect();
    if !has_logins {
        let message = "scopes of the management API open the operator's pages to people who log in; `sso` is off, so they open nothing";
        for role in opening {
            let role = Path::default().field("roles").entry(&role.name);
            context.warn(&role.field("permissions"), message);
        }
        return;
    }
    let is_shared = server.is_none_or(|server| server.listen == *admin);
    let is_told = document.admin.public_url.is_some() || is_shared || admin.is_loopback();
    if !opening.is_empty() && !is_told {
        let key = Path::default().field("admin").field("public_url");
        let message = format!(
            "not set; operators who log in are sent back to http://{admin}, which they may not reach"
        );
        context.warn(&key, message);
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
        tenant: written.tenant.clone(),
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
