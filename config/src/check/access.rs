//! The sections `roles` and `role_bindings`, and the roles of `api_keys`.

use std::collections::BTreeMap;

use turnpike_api::Permission as Llm;

use crate::document::{Document, LoginMode, Permission, Role, RoleBinding};
use crate::locate::Path;
use crate::nearest::hint;
use crate::plan::{ClientKeyPlan, RoleBindingPlan, RolePlan, Scope};

use super::{Context, keys};

pub(super) fn access(
    document: &Document,
    client_keys: &[ClientKeyPlan],
    context: &mut Context<'_>,
) -> (Vec<RolePlan>, Vec<RoleBindingPlan>) {
    let roles = document.roles.iter();
    let roles = roles.map(|(name, written)| role(name, written, context));
    let roles = roles.collect();
    check_keys(document, context);
    let names = names_of_keys(document, client_keys);
    let bindings = document.role_bindings.iter().enumerate();
    let bindings = bindings.map(|(index, written)| {
        let at = Path::default().field("role_bindings").item(index);
        binding(written, &at, document, &names, context)
    });
    let bindings = bindings.collect();
    check_twins(&document.role_bindings, context);
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
    if !role.management.is_empty() {
        let message = "the management API is opened by its keys alone (`admin.keys`): scopes of it in a role open nothing in this release";
        context.warn(&at.field("permissions"), message);
    }
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

/// The names that were given: the others are those of positions, at which another key may stand
/// tomorrow.
fn names_of_keys<'k>(document: &'k Document, client_keys: &'k [ClientKeyPlan]) -> Vec<&'k str> {
    let written = document.api_keys.iter().filter_map(|entry| entry.full());
    let written = written.filter_map(|full| full.name.as_deref());
    // Beyond those of the section there is the environment's.
    let rest = client_keys.iter().skip(document.api_keys.len());
    written.chain(rest.map(|key| key.name.as_str())).collect()
}

fn check_role(role: &str, key: &Path, document: &Document, context: &mut Context<'_>) {
    if !document.roles.contains_key(role) {
        let hint = hint(role, document.roles.keys().map(String::as_str));
        let message = format!("no role `{role}` is configured{hint}");
        context.report.at(key, message);
    }
}

fn binding(
    written: &RoleBinding,
    at: &Path,
    document: &Document,
    names_of_keys: &[&str],
    context: &mut Context<'_>,
) -> RoleBindingPlan {
    check_role(&written.role, &at.field("role"), document, context);
    check_has_matcher(written, at, context);
    let claims = written.claims.iter().flatten();
    let claims: Vec<(String, String)> = claims
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    if written.claims.is_some() && claims.is_empty() {
        empty(&at.field("claims"), context);
    }
    for (name, value) in &claims {
        if name.is_empty() || value.is_empty() {
            let key = at.field("claims").entry(name);
            context.report.at(&key, "expected a claim and its value");
        }
    }
    let mut list = |name: &str, written: &Option<Vec<String>>, wrong: Wrong<'_>| {
        values(written.as_deref(), &at.field(name), wrong, context)
    };
    let is_key = |name: &str| match names_of_keys.contains(&name) {
        true => None,
        false => {
            let hint = hint(name, names_of_keys.iter().copied());
            Some(format!(
                "no entry of `api_keys` has the name `{name}`{hint}"
            ))
        }
    };
    RoleBindingPlan {
        role: written.role.clone(),
        everyone: written.everyone,
        issuers: list("issuers", &written.issuers, &|_| None),
        groups: list("groups", &written.groups, &|_| None),
        scopes: list("scopes", &written.scopes, &blanks),
        claims,
        email_domains: list("email_domains", &written.email_domains, &domain),
        users: list("users", &written.users, &user),
        tokens: list("tokens", &written.tokens, &|_| None),
        api_keys: list("api_keys", &written.api_keys, &is_key),
    }
}

/// What is wrong with a value.
type Wrong<'w> = &'w dyn Fn(&str) -> Option<String>;

fn values(
    written: Option<&[String]>,
    key: &Path,
    wrong: Wrong<'_>,
    context: &mut Context<'_>,
) -> Vec<String> {
    let Some(values) = written else {
        return Vec::new();
    };
    if values.is_empty() {
        empty(key, context);
    }
    for (index, value) in values.iter().enumerate() {
        let key = key.item(index);
        if value.trim() != value || value.is_empty() {
            context.report.at(&key, "empty, or with blanks around it");
        } else if values[..index].contains(value) {
            context.report.at(&key, "written twice; remove one");
        } else if let Some(message) = wrong(value) {
            context.report.at(&key, message);
        }
    }
    values.to_vec()
}

fn empty(key: &Path, context: &mut Context<'_>) {
    let message = "empty, so it would match nobody; leave it out, or name somebody";
    context.report.at(key, message);
}

/// A binding that binds nobody, or that could be read as binding everybody.
fn check_has_matcher(written: &RoleBinding, at: &Path, context: &mut Context<'_>) {
    let bare = RoleBinding {
        role: written.role.clone(),
        everyone: false,
        issuers: None,
        groups: None,
        scopes: None,
        claims: None,
        email_domains: None,
        users: None,
        tokens: None,
        api_keys: None,
    };
    let everyones = RoleBinding {
        everyone: true,
        ..bare.clone()
    };
    if context.report.is_broken(at) {
        // What is missing may have been written, and been wrong.
    } else if *written == bare {
        let message = "says nothing of who has the role; name groups, users or others, or write `everyone: true`";
        context.report.at(at, message);
    } else if written.everyone && *written != everyones {
        let message = "everyone is more than those named beside it; remove one of the two";
        context.report.at(&at.field("everyone"), message);
    }
}

fn blanks(scope: &str) -> Option<String> {
    let several = scope.contains(char::is_whitespace);
    several.then(|| "a scope has no blanks; write several as a list".to_owned())
}

fn domain(domain: &str) -> Option<String> {
    let is_domain = domain
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
        && !domain.starts_with('.')
        && !domain.ends_with('.');
    (!is_domain).then(|| "expected what follows the `@`, such as example.com".to_owned())
}

fn user(user: &str) -> Option<String> {
    (user.matches('@').count() > 1)
        .then(|| "expected an address with one `@`, or a subject".to_owned())
}

fn check_twins(bindings: &[RoleBinding], context: &mut Context<'_>) {
    let section = Path::default().field("role_bindings");
    for (index, binding) in bindings.iter().enumerate() {
        let at = section.item(index);
        let twin = bindings[..index].iter().position(|other| other == binding);
        if let Some(twin) = twin
            && !context.report.is_broken(&at)
        {
            let twin = context.report.whereabouts(&section.item(twin));
            let message = format!("the same as {twin}; remove one");
            context.report.at(&at, message);
        }
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
