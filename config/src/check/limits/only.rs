//! `only`: the subjects of its level that a limit is for.

use std::collections::BTreeMap;

use turnpike_api::{ModelRules, glob_matches};

use crate::document::{LimitEntry, LimitScope, Role};
use crate::locate::Path;
use crate::plan::ProviderPlan;

use super::Context;

/// The subjects whose names the configuration knows.
pub(super) struct Subjects<'a> {
    roles: Vec<&'a str>,
    keys: Vec<&'a str>,
    credentials: Vec<&'a str>,
}

impl<'a> Subjects<'a> {
    pub(super) fn of(
        roles: &'a BTreeMap<String, Role>,
        keys: impl IntoIterator<Item = &'a str>,
        providers: &'a [ProviderPlan],
    ) -> Self {
        let credentials = providers.iter().flat_map(|provider| &provider.credentials);
        Self {
            roles: roles.keys().map(String::as_str).collect(),
            keys: keys.into_iter().collect(),
            credentials: credentials.map(|one| one.id.as_str()).collect(),
        }
    }

    /// The names of a scope, and what becomes of a rule that none of them matches.
    fn of_scope(&self, scope: LimitScope) -> Option<(&[&'a str], &'static str)> {
        match scope {
            LimitScope::Role => Some((&self.roles, "no role is called so, so it is for nobody")),
            LimitScope::Token => Some((
                &self.keys,
                "no entry of `api_keys` is called so; it is for agent tokens and signed tokens only",
            )),
            LimitScope::Credential => Some((
                &self.credentials,
                "no credential here is called so; it is for credential files only",
            )),
            // Nobody knows all users, and providers serve models that no file lists.
            LimitScope::Tenant | LimitScope::User | LimitScope::Model => None,
        }
    }
}

pub(super) fn only(
    written: &LimitEntry,
    at: &Path,
    subjects: &Subjects<'_>,
    context: &mut Context<'_>,
) -> Option<ModelRules> {
    let known = subjects.of_scope(written.scope);
    let Some(rules) = &written.only else {
        if written.scope == LimitScope::Role && subjects.roles.is_empty() {
            let message = "no role is configured, so this limit counts nothing";
            context.warn(&at.field("scope"), message);
        }
        return None;
    };
    let key = at.field("only");
    if written.scope == LimitScope::Tenant {
        let message =
            "all callers of a tenant count together; leave it out, or write another scope";
        context.report.at(&key, message);
    } else if rules.is_empty() {
        let message = "empty, so the limit would be for nothing; leave it out for all";
        context.report.at(&key, message);
    } else if rules.iter().all(|rule| rule.trim().starts_with('!')) {
        let message = "every rule says what it is not for; add \"*\" for all others";
        context.report.at(&key, message);
    }
    for (index, rule) in rules.iter().enumerate() {
        let key = key.item(index);
        let name = rule.trim();
        let name = name.strip_prefix('!').unwrap_or(name);
        if name.is_empty() || name.starts_with('!') {
            let message = "expected a name; `*` is any run of characters, `!` in front excepts it";
            context.report.at(&key, message);
        } else if let Some((known, message)) = known {
            let glob = name.to_ascii_lowercase();
            if !known.iter().any(|name| glob_matches(&glob, name)) {
                context.warn(&key, message);
            }
        }
    }
    Some(ModelRules::new(rules))
}
