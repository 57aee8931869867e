//! The lists `openai_api_key` and so on, and `openai_compatibility`, as entries of providers.

use crate::document::{CompatibleEntry, Document, KeyEntry};
use crate::later;
use crate::locate::Path;

use super::Context;
use super::credential::{Draft, Part, Settings};
use super::providers::{Group, check_name};

/// A list: its key, the name and the kind of its provider.
struct List<'a> {
    key: &'static str,
    provider: &'static str,
    kind: &'static str,
    entries: &'a [KeyEntry],
}

fn lists(document: &Document) -> [List<'_>; 5] {
    let list = |key, provider, kind, entries| List {
        key,
        provider,
        kind,
        entries,
    };
    [
        list(
            "openai_api_key",
            "openai",
            "openai",
            &document.openai_api_key,
        ),
        list(
            "claude_api_key",
            "claude",
            "claude",
            &document.claude_api_key,
        ),
        list(
            "gemini_api_key",
            "gemini",
            "gemini",
            &document.gemini_api_key,
        ),
        list("codex_api_key", "codex", "openai", &document.codex_api_key),
        list(
            "vertex_api_key",
            "vertex",
            "vertex",
            &document.vertex_api_key,
        ),
    ]
}

/// One group for every list with entries, and for every compatible provider.
pub(super) fn groups(document: &Document, context: &mut Context<'_>) -> Vec<Group> {
    let mut groups = Vec::new();
    for list in lists(document)
        .into_iter()
        .filter(|list| !list.entries.is_empty())
    {
        let at = Path::default().field(list.key);
        if context.kinds.default_base_url(list.kind).is_none() {
            context.report.at(&at, later::MESSAGE);
            continue;
        }
        let mut group = Group::new(list.provider, list.kind, &at);
        for (index, entry) in list.entries.iter().enumerate() {
            group
                .drafts
                .push(key_entry(entry, &at.item(index), list.kind, context));
        }
        groups.push(group);
    }
    let at = Path::default().field("openai_compatibility");
    for (index, entry) in document.openai_compatibility.iter().enumerate() {
        groups.push(compatible(entry, &at.item(index), context));
    }
    groups
}

fn key_entry(entry: &KeyEntry, at: &Path, kind: &str, context: &mut Context<'_>) -> Draft {
    if entry.base_url.is_none() && context.kinds.default_base_url(kind) == Some(false) {
        context
            .report
            .at(at, format!("the kind `{kind}` needs `base_url`"));
    }
    let settings = Settings {
        base_url: entry.base_url.as_deref(),
        prefix: entry.prefix.as_deref(),
        models: &entry.models,
        excluded_models: &entry.excluded_models,
        headers: &entry.headers,
        proxy_url: entry.proxy_url.as_ref(),
    };
    let part = Part {
        priority: entry.priority,
        weight: entry.weight,
        disabled: entry.disabled,
        quota: &entry.quota,
        caps: &entry.caps,
        pool: entry.pool.as_deref(),
    };
    let settings = settings.check(at, context);
    Draft::new(settings, &entry.api_key, None, at, context).with(&part)
}

fn compatible(entry: &CompatibleEntry, at: &Path, context: &mut Context<'_>) -> Group {
    let kind = "openai-compatible";
    if context.kinds.default_base_url(kind).is_none() {
        context.report.at(
            &Path::default().field("openai_compatibility"),
            later::MESSAGE,
        );
    }
    check_name(&entry.name, &at.field("name"), context);
    let settings = Settings {
        base_url: Some(&entry.base_url),
        prefix: entry.prefix.as_deref(),
        models: &entry.models,
        excluded_models: &entry.excluded_models,
        headers: &entry.headers,
        proxy_url: entry.proxy_url.as_ref(),
    };
    let part = Part {
        priority: entry.priority,
        weight: entry.weight,
        disabled: entry.disabled,
        quota: &entry.quota,
        caps: &entry.caps,
        pool: entry.pool.as_deref(),
    };
    let settings = settings.check(at, context);
    let mut group = Group::new(&entry.name, kind, &at.field("name"));
    if let Some(key) = &entry.api_key {
        let draft = Draft::new(settings.clone(), key, None, at, context);
        group.drafts.push(draft.with(&part));
    }
    for (index, key) in entry.api_key_entries.iter().enumerate() {
        let at = at.field("api_key_entries").item(index);
        let mut settings = settings.clone();
        if key.proxy_url.is_some() {
            let proxy_key = at.field("proxy_url");
            settings.proxy = super::proxy::choice(key.proxy_url.as_ref(), &proxy_key, context);
        }
        let draft = Draft::new(settings, &key.api_key, None, &at, context);
        group.drafts.push(draft.with(&part));
    }
    group.settings = settings;
    group
}
