//! The sections `roles` and `role_bindings`, and the roles of `api_keys`.

mod bindings;

use std::collections::BTreeMap;

use turnpike_api::Permission as Llm;

use crate::document::{Document, LoginMode, Permission, Role};
use crate::locate::Path;
use crate::nearest::hint;
use crate::plan::{ClientKeyPlan, RoleBindingPlan, RolePlan, Scope};

use super::{Context, keys, limits};

pub(super) fn access(
    document: &Document,
    client_keys: &[ClientKeyPlan],
    context: &mut Context<'_>,
) -> (Vec<RolePlan>, Vec<RoleBindingPlan>) {
    let roles = document.roles.iter();
    let roles = roles.map(|(name, written)| role(name, written, context));
    let roles = roles.collect();
    check_keys(document, context);
    let bindings = bindings::bindings(document, client_keys, context);
    warn_of_unbound(document, context);
    (roles, bindings)
}

fn role(name: &str, written: &Role, context: &mut Context<'_>) -> RolePlan {
    let at = Path::default().field("roles").entry(name);
    if !keys::is_name(name) {
        let message = "expected a name of printable characters";
        context.report.at(&at, message);
    }
    check_rules(&written.models, &at.field("models"), "gpt-*", context);
    check_rules(
        &written.providers,
        &at.field("providers"),
        "openai",
        context,
    );
    for (index, permission) in written.permissions.iter().enumerate() {
        if written.permissions[..index].contains(permission) {
            let key = at.field("permissions").item(index);
            context.report.at(&key, "written twice; remove one");
        }
    }
    let permissions = written.permissions.iter();
    let management: Vec<Scope> = permissions.clone().filter_map(|one| scope(*one)).collect();
    let plan = RolePlan {
        name: name.to_owned(),
        models: written.models.clone(),
        providers: written.providers.clone(),
        permissions: permissions.filter_map(|one| llm(*one)).collect(),
        management,
        limits: limits::of_role(name, &written.limits, &at.field("limits"), context),
    };
    warn_of_nothing(&plan, &at, context);
    plan
}

/// Rules that say nothing, or both yes and no.
fn check_rules(rules: &[String], key: &Path, example: &str, context: &mut Context<'_>) {
    let mut seen: BTreeMap<String, (usize, bool)> = BTreeMap::new();
    for (index, rule) in rules.iter().enumerate() {
        let key = key.item(index);
        let (text, denies) = match rule.trim().strip_prefix('!') {
            Some(denied) => (denied, true),
            None => (rule.trim(), false),
        };
        if text.is_empty() || text.starts_with('!') || text.contains(char::is_whitespace) {
            let message = format!("expected a name, such as {example}; `!` in front denies it");
            context.report.at(&key, message);
            continue;
        }
        let before = seen.insert(text.to_ascii_lowercase(), (index, denies));
        match before {
            Some((_, denied)) if denied == denies => {
                context.report.at(&key, "written twice; remove one");
            }
            Some(_) => {
                let message = format!("`{text}` is both granted and denied here; remove one");
                context.report.at(&key, message);
            }
            None => {}
        }
    }
}

/// What is probably not meant.
fn warn_of_nothing(role: &RolePlan, at: &Path, context: &mut Context<'_>) {
    let denies = |rules: &[String]| rules.iter().any(|rule| rule.trim().starts_with('!'));
    let grants = |rules: &[String]| rules.iter().any(|rule| !rule.trim().starts_with('!'));
    let takes_away = denies(&role.models) || denies(&role.providers);
    let is_for_operators = !role.management.is_empty() && role.models.is_empty();
    if takes_away || is_for_operators {
        return;
    }
    if role.permissions.is_empty() {
        context.warn(
            &at.field("permissions"),
            "empty, so this role grants nothing",
        );
    } else if !grants(&role.models) {
        let message = "no model is named, so this role grants none; write [\"*\"] for all";
        context.warn(&at.field("models"), message);
    } else if !grants(&role.providers) {
        let message = "no provider is named, so this role grants nothing; leave it out for all";
        context.warn(&at.field("providers"), message);
    }
}

fn llm(permission: Permission) -> Option<Llm> {
    match permission {
        Permission::LlmRead => Some(Llm::Read),
        Permission::LlmWrite => Some(Llm::Write),
        _ => None,
    }
}

fn scope(permission: Permission) -> Option<Scope> {
    match permission {
        Permission::LlmRead | Permission::LlmWrite => None,
        Permission::All => Some(Scope::All),
        Permission::CredentialsRead => Some(Scope::CredentialsRead),
        Permission::CredentialsWrite => Some(Scope::CredentialsWrite),
        Permission::TokensRead => Some(Scope::TokensRead),
        Permission::TokensWrite => Some(Scope::TokensWrite),
        Permission::SessionsRead => Some(Scope::SessionsRead),
        Permission::SessionsWrite => Some(Scope::SessionsWrite),
        Permission::UsageRead => Some(Scope::UsageRead),
        Permission::ConfigRead => Some(Scope::ConfigRead),
        Permission::ConfigWrite => Some(Scope::ConfigWrite),
        Permission::LogsRead => Some(Scope::LogsRead),
        Permission::LogsWrite => Some(Scope::LogsWrite),
    }
}

fn check_keys(document: &Document, context: &mut Context<'_>) {
    for (index, entry) in document.api_keys.iter().enumerate() {
        let Some(full) = entry.full() else { continue };
        let key = Path::default().field("api_keys").item(index).field("roles");
        for (at, role) in full.roles.iter().enumerate() {
            check_role(role, &key.item(at), document, context);
            if full.roles[..at].contains(role) {
                context
                    .report
                    .at(&key.item(at), "written twice; remove one");
            }
        }
    }
}

fn check_role(role: &str, key: &Path, document: &Document, context: &mut Context<'_>) {
    if !document.roles.contains_key(role) {
        let hint = hint(role, document.roles.keys().map(String::as_str));
        let message = format!("no role `{role}` is configured{hint}");
        context.report.at(key, message);
    }
}

/// Roles that nobody can have. The authorization API may name any.
fn warn_of_unbound(document: &Document, context: &mut Context<'_>) {
    let authorization = &document.authorization;
    let is_given = authorization.mode == LoginMode::Enterprise && authorization.api_url.is_some();
    if document.sso.enabled && is_given {
        return;
    }
    let keys = document.api_keys.iter().filter_map(|entry| entry.full());
    let of_keys: Vec<&String> = keys.flat_map(|key| &key.roles).collect();
    for name in document.roles.keys() {
        let mut bindings = document.role_bindings.iter();
        if !of_keys.contains(&name) && !bindings.any(|binding| binding.role == *name) {
            let at = Path::default().field("roles").entry(name);
            context.warn(
                &at,
                "nobody has this role: no entry of `role_bindings` names it",
            );
        }
    }
}
