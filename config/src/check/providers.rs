//! The section `providers`, together with the lists that add to it.

use std::collections::BTreeMap;

use crate::document::{Document, Provider};
use crate::later;
use crate::locate::Path;
use crate::nearest::{hint, quoted};
use crate::plan::{ProviderPlan, Selection, SettingsPlan};

use super::credential::{Draft, Part, Settings, identify, is_word};
use super::{Context, lists, models, selection};

/// A provider in the making.
pub(super) struct Group {
    name: String,
    kind: String,
    /// The key that says its kind.
    at: Path,
    enabled: bool,
    selection: Option<Selection>,
    pub(super) settings: SettingsPlan,
    pub(super) drafts: Vec<Draft>,
}

impl Group {
    pub(super) fn new(name: &str, kind: &str, at: &Path) -> Self {
        Self {
            name: name.to_owned(),
            kind: kind.to_owned(),
            at: at.clone(),
            enabled: true,
            selection: None,
            settings: SettingsPlan::default(),
            drafts: Vec::new(),
        }
    }
}

/// The providers that are switched on, and the names of those that are not.
pub(super) fn providers(
    document: &Document,
    context: &mut Context<'_>,
) -> (Vec<ProviderPlan>, Vec<String>) {
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    for (name, provider) in &document.providers {
        if let Some(group) = native(name, provider, context) {
            groups.insert(name.clone(), group);
        }
    }
    for group in lists::groups(document, context) {
        match groups.get_mut(&group.name) {
            Some(earlier) => join(earlier, group, context),
            None => {
                groups.insert(group.name.clone(), group);
            }
        }
    }
    models::refuse_preview_cycles(context);
    let (mut plans, mut disabled) = (Vec::new(), Vec::new());
    for mut group in groups.into_values() {
        identify(&group.name, &mut group.drafts, context);
        match group.enabled {
            true => plans.push(finish(group)),
            false => disabled.push(group.name),
        }
    }
    if plans.iter().all(|plan| plan.credentials.is_empty()) {
        let message = "no provider has a credential here, so no model is served but by credential \
                       files in `auth.dir`; add one there or under `providers`";
        context.warnings.push(message.into());
    }
    (plans, disabled)
}

fn native(name: &str, written: &Provider, context: &mut Context<'_>) -> Option<Group> {
    let at = Path::default().field("providers").entry(name);
    check_name(name, &at, context);
    let kind = kind(name, written, &at, context);
    let settings = Settings {
        base_url: written.base_url.as_deref(),
        prefix: written.prefix.as_deref(),
        models: &written.models,
        excluded_models: &written.excluded_models,
        headers: &written.headers,
        proxy_url: written.proxy_url.as_ref(),
    };
    let settings = settings.check(&at, context);
    let mut drafts = Vec::new();
    for (index, credential) in written.credentials.iter().enumerate() {
        let at = at.field("credentials").item(index);
        let label = credential.label.as_deref();
        let draft = Draft::new(settings.clone(), &credential.api_key, label, &at, context);
        drafts.push(draft.with(&Part {
            priority: credential.priority,
            weight: credential.weight,
            disabled: credential.disabled,
            quota: &credential.quota,
            caps: &credential.caps,
            pool: credential.pool.as_deref(),
        }));
    }
    let kind = kind?;
    let needs_base_url = context.kinds.default_base_url(&kind) == Some(false);
    let missing = !context.report.is_written(&at.field("base_url"));
    if needs_base_url && written.base_url.is_none() && missing {
        context
            .report
            .at(&at, format!("the kind `{kind}` needs `base_url`"));
    }
    Some(Group {
        enabled: written.enabled,
        selection: written.selection_strategy.map(selection::of),
        settings,
        drafts,
        ..Group::new(name, &kind, &at)
    })
}

/// Its kind: as written, or its name.
fn kind(name: &str, written: &Provider, at: &Path, context: &mut Context<'_>) -> Option<String> {
    let kind = written.kind.as_deref().unwrap_or(name);
    if context.kinds.default_base_url(kind).is_some() {
        return Some(kind.to_owned());
    }
    let known = quoted(context.kinds.names());
    if written.kind.is_none() && context.report.is_broken(&at.field("kind")) {
        return None;
    }
    if later::is_value("providers.*.kind", kind) {
        context
            .report
            .at(&at.field("kind"), format!("`{kind}` is {}", later::MESSAGE));
    } else if written.kind.is_none() {
        let hint = hint(kind, context.kinds.names());
        let message = format!("no kind is called so{hint}; write its `kind`, one of {known}");
        context.report.at(at, message);
    } else {
        let hint = hint(kind, context.kinds.names());
        let message = format!("unknown kind `{kind}`{hint}; known are {known}");
        context.report.at(&at.field("kind"), message);
    }
    None
}

/// A name goes into ids, metrics and paths.
pub(super) fn check_name(name: &str, key: &Path, context: &mut Context<'_>) {
    if !is_word(name) {
        let message = "expected a provider's name of letters, digits, `-`, `_` and `.` only";
        context.report.at(key, message);
    }
}

fn join(earlier: &mut Group, added: Group, context: &mut Context<'_>) {
    if earlier.kind != added.kind {
        let other = context.report.whereabouts(&earlier.at);
        let message = format!(
            "adds to the provider `{}` of the kind `{}`, but {other} is of the kind `{}`",
            added.name, added.kind, earlier.kind
        );
        context.report.at(&added.at, message);
    }
    earlier.drafts.extend(added.drafts);
}

fn finish(group: Group) -> ProviderPlan {
    let drafts = group.drafts.into_iter();
    let mut credentials: Vec<_> = drafts.map(|draft| draft.plan).collect();
    // They are kept; `collect` leaves them in the room of the drafts.
    credentials.shrink_to_fit();
    ProviderPlan {
        name: group.name,
        kind: group.kind,
        selection: group.selection,
        settings: group.settings,
        credentials,
    }
}
