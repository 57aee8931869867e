//! What the reference documents and this release does not serve yet.
//!
//! Such a key must not be ignored: an operator who wrote `audit` relies on it. It is accepted
//! only with a value that asks for nothing, so that a copied reference need not be emptied. A
//! release that serves a key moves it from here into the document types.

use crate::tree::{Content, Node, Scalar};

/// Keys by their pattern.
const KEYS: &[&str] = &[
    "auth.notifications",
    "auth.refresh",
    "providers.*.credentials[].websockets",
];

/// Keys of an entry of any of the lists `openai_api_key` and so on.
const LIST_ENTRY_KEYS: &[&str] = &["websockets"];

const LISTS: &[&str] = &[
    "claude_api_key[]",
    "codex_api_key[]",
    "gemini_api_key[]",
    "openai_api_key[]",
    "openai_compatibility[]",
    "vertex_api_key[]",
];

/// Values of keys that are served, by the pattern of the key.
const VALUES: &[(&str, &[&str])] = &[(
    "providers.*.kind",
    &[
        "vertex",
        "azure-openai",
        "claude",
        "gemini",
        "openai-compatible",
    ],
)];

pub(crate) const MESSAGE: &str = "not available in this release";

/// Whether the key `pattern` is one of a later release.
pub(crate) fn is_key(pattern: &str) -> bool {
    if KEYS.contains(&pattern) {
        return true;
    }
    LISTS.iter().any(|list| {
        let key = pattern
            .strip_prefix(list)
            .and_then(|key| key.strip_prefix('.'));
        key.is_some_and(|key| LIST_ENTRY_KEYS.contains(&key))
    })
}

/// Names of later keys beside those of `pattern`, for "did you mean".
pub(crate) fn keys_under(pattern: &str) -> Vec<&'static str> {
    let under = |key: &&'static str| match key.rsplit_once('.') {
        Some((above, name)) => (above == pattern).then_some(name),
        None => pattern.is_empty().then_some(*key),
    };
    KEYS.iter().filter_map(under).collect()
}

/// Whether `value` is one that a later release accepts at `pattern`.
pub(crate) fn is_value(pattern: &str, value: &str) -> bool {
    VALUES
        .iter()
        .any(|(key, values)| *key == pattern && values.contains(&value))
}

/// Whether a later key with this value asks for nothing that this release does not do anyway.
pub(crate) fn is_idle(pattern: &str, node: &Node) -> bool {
    match &node.content {
        Content::Scalar(Scalar::Null | Scalar::Bool(false), _) => true,
        Content::Scalar(Scalar::Text, text) => text.is_empty(),
        Content::Scalar(..) => false,
        Content::List(items) => items.is_empty(),
        Content::Map(entries) if entries.is_empty() => true,
        Content::Map(entries) if SWITCHED.contains(&pattern) => entries.iter().any(|entry| {
            entry.key == "enabled"
                && matches!(entry.value.content, Content::Scalar(Scalar::Bool(false), _))
        }),
        // Not so for all mappings: an entry of which nothing is said may take something away.
        Content::Map(_) => false,
    }
}

/// Sections that do nothing while their `enabled` is false.
const SWITCHED: &[&str] = &["auth.refresh"];
