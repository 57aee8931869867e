//! The sections `roles` and `role_bindings`, also those of tenants, and the roles of `api_keys`.

mod bindings;

use std::collections::{BTreeMap, HashSet};

use turnpike_api::{Permission as Llm, glob_matches};

use crate::document::{
    ClientAuth, Document, LoginMode, Permission, Role, RoleBinding, Tenant, Tls,
};
use crate::locate::Path;
use crate::nearest::hint;
use crate::plan::{RoleBindingPlan, RolePlan, Scope, TenantAccessPlan};

use super::owners::{Given, Owners};
use super::{Context, keys, limits, server};

pub(super) use bindings::domain;

pub(super) fn access(
    document: &Document,
    owners: &Owners<'_>,
    context: &mut Context<'_>,
) -> (Vec<RolePlan>, Vec<RoleBindingPlan>) {
    let written = Written {
        at: Path::default(),
        roles: &document.roles,
        bindings: &document.role_bindings,
    };
    check_keys(document, context);
    let (roles, bindings) = written.check(&owners.all_given(), context);
    let of_keys: HashSet<&str> = owners
        .tenants()
        .filter(|tenant| has_roles_of_top_level(document, *tenant))
        .flat_map(|tenant| owners.roles(tenant))
        .collect();
    warn_of_unbound(document, &written, &of_keys, context);
    (roles, bindings)
}

/// Those that a tenant writes; `None` = it has those of the top level.
pub(super) fn of_tenant(
    (name, tenant): (&str, &Tenant),
    document: &Document,
    owners: &Owners<'_>,
    context: &mut Context<'_>,
) -> Option<TenantAccessPlan> {
    if !has_own_roles(tenant) {
        return None;
    }
    let written = Written {
        at: Path::default().field("tenants").entry(name),
        roles: &tenant.roles,
        bindings: &tenant.role_bindings,
    };
    let (roles, role_bindings) = written.check(&owners.given(name), context);
    let of_keys: HashSet<&str> = owners.roles(Some(name)).collect();
    warn_of_unbound(document, &written, &of_keys, context);
    Some(TenantAccessPlan {
        roles,
        role_bindings,
    })
}

fn has_own_roles(tenant: &Tenant) -> bool {
    !tenant.roles.is_empty() || !tenant.role_bindings.is_empty()
}

fn has_roles_of_top_level(document: &Document, tenant: Option<&str>) -> bool {
    let tenant = tenant.and_then(|name| document.tenants.get(name));
    !tenant.is_some_and(has_own_roles)
}

/// Roles and who has them, as written in one place.
struct Written<'w> {
    /// The root, or a tenant.
    at: Path,
    roles: &'w BTreeMap<String, Role>,
    bindings: &'w [RoleBinding],
}

impl Written<'_> {
    /// `names` are those of the keys that may have the roles.
    fn check(
        &self,
        names: &Given<'_>,
        context: &mut Context<'_>,
    ) -> (Vec<RolePlan>, Vec<RoleBindingPlan>) {
        let section = self.at.field("roles");
        let roles = self.roles.iter();
        let roles = roles.map(|(name, written)| role(name, written, &section, context));
        let roles = roles.collect();
        (roles, bindings::bindings(self, names, context))
    }
}

fn role(name: &str, written: &Role, section: &Path, context: &mut Context<'_>) -> RolePlan {
    let at = section.entry(name);
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
        cidrs: server::networks(&written.cidrs, &at.field("cidrs"), context),
        certificates: digests(&written.certificates, &at.field("certificates"), context),
        limits: limits::of_role(name, &written.limits, &at.field("limits"), context),
    };
    warn_of_nothing(&plan, &at, context);
    plan
}

/// Of roles that are good with client certificates, where no caller is asked for one.
pub(super) fn warn_of_certificates(document: &Document, context: &mut Context<'_>) {
    let tls = document.server.tls.as_ref();
    let asks = |tls: &Tls| tls.client_ca.is_some() && !matches!(tls.client_auth, ClientAuth::Off);
    if tls.is_some_and(asks) {
        return;
    }
    let top = (Path::default(), &document.roles);
    let tenants = document.tenants.iter().map(|(name, tenant)| {
        let at = Path::default().field("tenants").entry(name);
        (at, &tenant.roles)
    });
    for (at, roles) in std::iter::once(top).chain(tenants) {
        for (name, role) in roles {
            if !role.certificates.is_empty() {
                let key = at.field("roles").entry(name).field("certificates");
                let message = "callers are asked for no certificate: whoever has the role is let in nowhere; set `server.tls.client_ca` and `server.tls.client_auth`";
                context.warn(&key, message);
            }
        }
    }
}

/// As `openssl x509 -fingerprint -sha256` prints them, or without the colons.
fn digests(written: &[String], key: &Path, context: &mut Context<'_>) -> Vec<String> {
    let mut digests = Vec::new();
    for (index, text) in written.iter().enumerate() {
        let digits = text.replace(':', "").to_ascii_lowercase();
        let is_digest = digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        match is_digest {
            true => digests.push(digits),
            false => {
                let message = "expected the 64 hexadecimal digits of a SHA-256";
                context.report.at(&key.item(index), message);
            }
        }
    }
    digests
}

/// Rules that say nothing, or both yes and no.
fn check_rules(rules: &[String], section: &Path, example: &str, context: &mut Context<'_>) {
    let mut seen: BTreeMap<String, (usize, bool)> = BTreeMap::new();
    for (index, rule) in rules.iter().enumerate() {
        let key = section.item(index);
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
    check_grants(rules, section, context);
}

/// A grant of which a denial leaves nothing. A glob that matches another as a text matches whatever
/// that one matches.
fn check_grants(rules: &[String], key: &Path, context: &mut Context<'_>) {
    let denied = |rule: &String| rule.trim().strip_prefix('!').map(str::to_ascii_lowercase);
    let granted = |rule: &&String| denied(rule).is_none();
    let covers = |denied: &str, rule: &String| {
        let granted = rule.trim().to_ascii_lowercase();
        // The same, letter for letter, is told already.
        granted != denied && glob_matches(denied, &granted)
    };
    for (index, rule) in rules.iter().enumerate() {
        let Some(denied) = denied(rule) else { continue };
        let mut grants = rules.iter().filter(granted).peekable();
        if grants.peek().is_some() && grants.all(|rule| covers(&denied, rule)) {
            let message = format!("`{denied}` denies all that is granted here; remove one of them");
            context.report.at(&key.item(index), message);
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
        let tenant = full.tenant.as_ref();
        let tenant = tenant.and_then(|name| document.tenants.get(name));
        let roles = match tenant.filter(|tenant| has_own_roles(tenant)) {
            Some(tenant) => &tenant.roles,
            None => &document.roles,
        };
        for (at, role) in full.roles.iter().enumerate() {
            check_role(role, &key.item(at), roles, context);
            if full.roles[..at].contains(role) {
                context
                    .report
                    .at(&key.item(at), "written twice; remove one");
            }
        }
    }
}

fn check_role(role: &str, key: &Path, roles: &BTreeMap<String, Role>, context: &mut Context<'_>) {
    if !roles.contains_key(role) {
        let hint = hint(role, roles.keys().map(String::as_str));
        let message = format!("no role `{role}` is configured{hint}");
        context.report.at(key, message);
    }
}

/// Roles that nobody can have. The authorization API may name any.
fn warn_of_unbound(
    document: &Document,
    written: &Written<'_>,
    of_keys: &HashSet<&str>,
    context: &mut Context<'_>,
) {
    let authorization = &document.authorization;
    let is_given = authorization.mode == LoginMode::Enterprise && authorization.api_url.is_some();
    let mut of_tenants = document
        .tenants
        .values()
        .map(|tenant| &tenant.authorization);
    let is_given = is_given || of_tenants.any(|authorization| authorization.api_url.is_some());
    let logins = document
        .tenants
        .values()
        .map(|tenant| &tenant.sso.providers);
    let may_log_in = document.sso.enabled || logins.into_iter().any(|some| !some.is_empty());
    if may_log_in && is_given {
        return;
    }
    for name in written.roles.keys() {
        let mut bindings = written.bindings.iter();
        if !of_keys.contains(name.as_str()) && !bindings.any(|binding| binding.role == *name) {
            let at = written.at.field("roles").entry(name);
            context.warn(
                &at,
                "nobody has this role: no entry of `role_bindings` names it",
            );
        }
    }
}
