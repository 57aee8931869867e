//! The section `role_bindings`.

use crate::document::RoleBinding;
use crate::locate::Path;
use crate::nearest::hint;
use crate::plan::RoleBindingPlan;

use super::{Context, Given, Written, check_role};

/// `names` are those that keys were given.
pub(super) fn bindings(
    written: &Written<'_>,
    names: &Given<'_>,
    context: &mut Context<'_>,
) -> Vec<RoleBindingPlan> {
    let section = written.at.field("role_bindings");
    let bindings = written.bindings.iter().enumerate();
    let bindings = bindings.map(|(index, one)| {
        let at = section.item(index);
        check_role(&one.role, &at.field("role"), written.roles, context);
        binding(one, &at, names, context)
    });
    let bindings = bindings.collect();
    check_twins(written.bindings, &section, context);
    bindings
}

fn binding(
    written: &RoleBinding,
    at: &Path,
    names_of_keys: &Given<'_>,
    context: &mut Context<'_>,
) -> RoleBindingPlan {
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
    let mut list = |name: &'static str, written: &Option<Vec<String>>, wrong: Wrong<'_>| {
        values(written.as_deref(), &at.field(name), wrong, context)
    };
    let is_key = |name: &str| match names_of_keys.has(name) {
        true => None,
        false => {
            let hint = hint(name, names_of_keys.sorted());
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

pub(in crate::check) fn domain(domain: &str) -> Option<String> {
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

fn check_twins(bindings: &[RoleBinding], section: &Path, context: &mut Context<'_>) {
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
