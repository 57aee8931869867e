//! The section `tenants`, and what names a tenant or a pool elsewhere. What belongs to two tenants
//! belongs to neither: whatever is not clear is refused.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ::url::Host;

use crate::document::{Document, Tenant};
use crate::locate::Path;
use crate::nearest::hint;
use crate::plan::{ClientKeyPlan, JwtIssuerPlan, TenantPlan};

use super::credential::is_word;
use super::owners::Owners;
use super::sso::Logins;
use super::{Context, access, limits, sso};

pub(super) fn tenants(
    document: &Document,
    (client_keys, owners): (&[ClientKeyPlan], &Owners<'_>),
    logins: &Logins,
    context: &mut Context<'_>,
) -> Vec<TenantPlan> {
    check_names(document, context);
    let hosts = owned(document, "hosts", |tenant| &tenant.hosts, host, context);
    let email_domains = owned(
        document,
        "email_domains",
        |tenant| &tenant.email_domains,
        domain,
        context,
    );
    check_house(document, &hosts, context);
    check_references(document, context);
    warn_of_keys(document, client_keys, context);
    let mut plans = Vec::new();
    for ((name, tenant), (hosts, email_domains)) in document
        .tenants
        .iter()
        .zip(hosts.into_iter().zip(email_domains))
    {
        let own = sso::of_tenant(name, tenant, document, logins, context);
        plans.push(TenantPlan {
            name: name.clone(),
            hosts,
            email_domains,
            sso: own.sso,
            remote: own.remote,
            access: access::of_tenant((name, tenant), document, owners, context),
            limits: limits::of_tenant((name, tenant), document, owners, context),
            pools: pools(name, tenant, context),
            prompts: tenant.prompts.enabled,
        });
    }
    plans
}

fn at(tenant: &str) -> Path {
    Path::default().field("tenants").entry(tenant)
}

/// A name goes into the store's keys, and people compare names without regard to case.
fn check_names(document: &Document, context: &mut Context<'_>) {
    let mut seen: HashMap<String, &str> = HashMap::new();
    for name in document.tenants.keys() {
        if !is_word(name) {
            let message = "expected a name of letters, digits, `-`, `_` and `.` only";
            context.report.at(&at(name), message);
        }
        if let Some(twin) = seen.insert(name.to_lowercase(), name) {
            let twin = context.report.whereabouts(&at(twin));
            let message = format!("differs from {twin} by the case of letters only; rename one");
            context.report.at(&at(name), message);
        }
    }
}

/// The gateway's own address is the house's: at a tenant's host there is nobody but its own callers.
fn check_house(document: &Document, hosts: &[Vec<String>], context: &mut Context<'_>) {
    let url = document.server.public_url.as_ref();
    let url = url.and_then(|url| ::url::Url::parse(url.as_ref()).ok());
    let Some(house) = url.as_ref().and_then(::url::Url::host_str) else {
        return;
    };
    for (name, hosts) in document.tenants.keys().zip(hosts) {
        if hosts.iter().any(|host| host == house) {
            let message =
                format!("{house} is the host of `server.public_url`, which is no tenant's");
            context.report.at(&at(name).field("hosts"), message);
        }
    }
}

/// What tenants have of something that one alone may have, tenant by tenant.
fn owned<'d>(
    document: &'d Document,
    key: &'static str,
    of: impl Fn(&'d Tenant) -> &'d Vec<String>,
    read: impl Fn(&str) -> Result<String, String>,
    context: &mut Context<'_>,
) -> Vec<Vec<String>> {
    let mut seen: HashMap<String, Path> = HashMap::new();
    let mut all = Vec::new();
    for (name, tenant) in &document.tenants {
        let mut own = Vec::new();
        for (index, written) in of(tenant).iter().enumerate() {
            let place = at(name).field(key).item(index);
            match read(written) {
                Err(why) => context.report.at(&place, why),
                Ok(found) => {
                    if let Some(twin) = seen.insert(found.clone(), place.clone()) {
                        let twin = context.report.whereabouts(&twin);
                        let message = format!("the same as {twin}; it can be one tenant's only");
                        context.report.at(&place, message);
                    }
                    own.push(found);
                }
            }
        }
        all.push(own);
    }
    all
}

/// As requests name it: a name as DNS has it, or an address.
fn host(written: &str) -> Result<String, String> {
    let expected = || "expected a host without a port, such as acme.example.com".to_owned();
    let bare = written.strip_suffix('.').unwrap_or(written);
    let found = Host::parse(bare).map_err(|_| expected())?.to_string();
    match found.is_empty() || found.contains('*') {
        true => Err(expected()),
        false => Ok(found),
    }
}

fn domain(written: &str) -> Result<String, String> {
    let expected = || "expected what follows the `@`, such as example.com".to_owned();
    match access::domain(written) {
        Some(why) => Err(why),
        None if written.is_empty() => Err(expected()),
        None => Ok(written.to_ascii_lowercase()),
    }
}

fn pools(name: &str, tenant: &Tenant, context: &mut Context<'_>) -> Vec<String> {
    let mut pools = BTreeSet::new();
    for (index, pool) in tenant.pools.iter().enumerate() {
        let key = at(name).field("pools").item(index);
        check_tag(pool, &key, context);
        if !pools.insert(pool.clone()) {
            context.report.at(&key, "written twice; remove one");
        }
    }
    pools.into_iter().collect()
}

fn check_tag(pool: &str, key: &Path, context: &mut Context<'_>) {
    if !is_word(pool) {
        let message = "expected a tag of letters, digits, `-`, `_` and `.` only";
        context.report.at(key, message);
    }
}

/// Keys that name the tenant they are of.
fn check_references(document: &Document, context: &mut Context<'_>) {
    let mut found: Vec<(Path, &str)> = Vec::new();
    let root = Path::default();
    for (index, entry) in document.api_keys.iter().enumerate() {
        let name = entry.full().and_then(|full| full.tenant.as_deref());
        let key = root.field("api_keys").item(index).field("tenant");
        found.extend(name.map(|name| (key, name)));
    }
    for (index, issuer) in document.jwt.issuers.iter().enumerate() {
        let key = root.field("jwt").field("issuers").item(index);
        let name = issuer.tenant.as_deref();
        found.extend(name.map(|name| (key.field("tenant"), name)));
    }
    for (index, written) in document.admin.keys.iter().enumerate() {
        let key = root.field("admin").field("keys").item(index);
        let name = written.tenant.as_deref();
        found.extend(name.map(|name| (key.field("tenant"), name)));
    }
    for (key, name) in found {
        if !document.tenants.contains_key(name) {
            let hint = hint(name, document.tenants.keys().map(String::as_str));
            let message = format!("no tenant `{name}` is configured{hint}");
            context.report.at(&key, message);
        }
    }
}

/// They act for whoever's host is called.
fn warn_of_keys(document: &Document, client_keys: &[ClientKeyPlan], context: &mut Context<'_>) {
    let has_hosts = document.tenants.values().any(|one| !one.hosts.is_empty());
    if !has_hosts {
        return;
    }
    for (index, key) in client_keys.iter().enumerate() {
        if key.tenant.is_none() {
            let at = Path::default().field("api_keys").item(index);
            let message = format!(
                "`{}` names no `tenant`, so it acts for whichever tenant's host is called",
                key.name
            );
            context.warn(&at, message);
        }
    }
}

/// Whose the tokens of each issuer are.
pub(super) fn assign_issuers(
    document: &Document,
    issuers: &mut [JwtIssuerPlan],
    context: &mut Context<'_>,
) {
    let mut seen: HashMap<&str, Path> = HashMap::new();
    let named = || document.jwt.issuers.iter();
    for (name, tenant) in &document.tenants {
        for (index, written) in tenant.issuers.iter().enumerate() {
            let key = at(name).field("issuers").item(index);
            if let Some(twin) = seen.insert(written, key.clone()) {
                let twin = context.report.whereabouts(&twin);
                let message = format!("the same as {twin}; it can be one tenant's only");
                context.report.at(&key, message);
                continue;
            }
            let Some(place) = named().position(|issuer| issuer.issuer == *written) else {
                let hint = hint(written, named().map(|issuer| issuer.issuer.as_str()));
                let message = format!("no entry of `jwt.issuers` has this issuer{hint}");
                context.report.at(&key, message);
                continue;
            };
            let other = named().nth(place).and_then(|issuer| issuer.tenant.as_ref());
            if let Some(other) = other.filter(|other| *other != name) {
                let place = Path::default().field("jwt").field("issuers").item(place);
                let place = context.report.whereabouts(&place.field("tenant"));
                let message = format!("{place} says that it is of the tenant `{other}`");
                context.report.at(&key, message);
            }
            let mut plans = issuers.iter_mut();
            if let Some(plan) = plans.find(|plan| plan.issuer == *written) {
                plan.tenant = Some(name.clone());
            }
        }
    }
}

/// Tags of credentials that nobody names: they would serve nobody.
pub(super) fn check_credentials(document: &Document, context: &mut Context<'_>) {
    let named: BTreeSet<&str> = document
        .tenants
        .values()
        .flat_map(|tenant| &tenant.pools)
        .map(String::as_str)
        .collect();
    for (key, pool) in tags(document) {
        check_tag(pool, &key, context);
        if !named.contains(pool) {
            let hint = hint(pool, named.iter().copied());
            let message =
                format!("no tenant names the pool `{pool}`, so it would serve nobody{hint}");
            context.report.at(&key, message);
        }
    }
}

fn tags(document: &Document) -> Vec<(Path, &str)> {
    let root = Path::default();
    let mut tags: Vec<(Path, &str)> = Vec::new();
    for (name, provider) in &document.providers {
        let section = root.field("providers").entry(name).field("credentials");
        for (index, credential) in provider.credentials.iter().enumerate() {
            let pool = credential.pool.as_deref();
            tags.extend(pool.map(|pool| (section.item(index).field("pool"), pool)));
        }
    }
    let lists = BTreeMap::from([
        ("openai_api_key", &document.openai_api_key),
        ("claude_api_key", &document.claude_api_key),
        ("gemini_api_key", &document.gemini_api_key),
        ("codex_api_key", &document.codex_api_key),
        ("vertex_api_key", &document.vertex_api_key),
    ]);
    for (list, entries) in lists {
        for (index, entry) in entries.iter().enumerate() {
            let key = root.field(list).item(index).field("pool");
            tags.extend(entry.pool.as_deref().map(|pool| (key, pool)));
        }
    }
    for (index, entry) in document.openai_compatibility.iter().enumerate() {
        let key = root.field("openai_compatibility").item(index).field("pool");
        tags.extend(entry.pool.as_deref().map(|pool| (key, pool)));
    }
    tags
}
