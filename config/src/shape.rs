//! Holds the written tree against the document's schema: unknown keys, wrong types, wrong choices,
//! missing keys, references that lead nowhere. Every one is reported, and what is left fits the
//! document types.
//!
//! The schema is the one derived from those types, so the two cannot drift apart.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::document::{TEXT_FORMATS, may_be_empty, may_be_reference};
use crate::environment::PREFIX;
use crate::expected::{Field, Integer, Shape, Text};
use crate::later;
use crate::locate::{Origin, Report, Trail};
use crate::nearest::{hint, nearest, quoted};
use crate::resolve::Resolver;
use crate::tree::{Content, Entry, Node, Scalar, canonical, plain_number, shown};

/// The value of `tree` with canonical keys, references resolved, and without what was wrong; `None`
/// when nothing usable is written.
pub(crate) fn fit(
    tree: &Node,
    shape: &Shape,
    resolver: &mut Resolver<'_>,
    report: &mut Report,
) -> Option<Value> {
    let mut walk = Walk { resolver, report };
    walk.value(tree, shape, &At::default())
}

struct Walk<'a, 'b> {
    resolver: &'a mut Resolver<'b>,
    report: &'a mut Report,
}

/// Where the walk is: the document's key, and the same as the operator wrote it.
#[derive(Default)]
struct At<'t> {
    key: Trail<'t>,
    written: Trail<'t>,
}

impl<'t> At<'t> {
    fn field(&'t self, key: &'t str, written: &'t str) -> Self {
        Self {
            key: self.key.field(key),
            written: self.written.field(written),
        }
    }

    fn entry(&'t self, key: &'t str) -> Self {
        Self {
            key: self.key.entry(key),
            written: self.written.entry(key),
        }
    }
}

impl Walk<'_, '_> {
    /// `None` when nothing usable is written there.
    fn value(&mut self, node: &Node, shape: &Shape, at: &At<'_>) -> Option<Value> {
        let shape = shape.variant(node);
        match (&node.content, shape) {
            (_, Shape::Word(words)) => self.word(node, words, at),
            (Content::Map(entries), Shape::Fields(fields)) => {
                self.fields(node, entries, fields, at)
            }
            (Content::Map(entries), Shape::Entries(each)) => Some(self.entries(entries, each, at)),
            // `server:` with everything under it commented out.
            (Content::Scalar(Scalar::Null, _), Shape::Fields(_) | Shape::Entries(_)) => {
                Some(Map::new().into())
            }
            (Content::List(items), Shape::List(each)) => Some(self.items(items, each, at)),
            (Content::Scalar(Scalar::Bool(value), _), Shape::Bool) => Some((*value).into()),
            (Content::Scalar(Scalar::Number(_), text), Shape::Integer(integer)) => {
                self.whole_number(node, text, integer, at)
            }
            (Content::Scalar(value, text), Shape::Text(expected))
                if expected.takes(value, node) =>
            {
                self.text(node, text, expected, at)
            }
            _ => {
                self.problem(node, at, shape.mismatch(node));
                None
            }
        }
    }

    fn problem(&mut self, node: &Node, at: &At<'_>, message: impl Into<String>) {
        self.report.found(&at.written.path(), &node.origin, message);
    }

    fn fields(
        &mut self,
        node: &Node,
        entries: &[Entry],
        fields: &BTreeMap<String, Field>,
        at: &At<'_>,
    ) -> Option<Value> {
        let known = self.known(entries, fields, at);
        let mut value = Map::new();
        let mut complete = true;
        for (key, Field { shape, is_required }) in fields {
            let written = known.iter().find(|(known, _)| known == key);
            let written = written.filter(|(_, entry)| !entry.value.is_null());
            let field = written.and_then(|(_, entry)| {
                let at = at.field(key, &entry.key);
                self.value(&entry.value, shape, &at)
            });
            if *is_required {
                complete &= field.is_some();
                if written.is_none() {
                    let at = at.field(key, key);
                    self.problem(node, &at, "missing; this key is required");
                }
            }
            if let Some(field) = field {
                value.insert(key.clone(), field);
            }
        }
        complete.then(|| value.into())
    }

    /// The entries whose keys there are, each with its key as the document spells it.
    fn known<'e>(
        &mut self,
        entries: &'e [Entry],
        fields: &'e BTreeMap<String, Field>,
        at: &At<'_>,
    ) -> Vec<(&'e str, &'e Entry)> {
        let mut known: Vec<(&str, &Entry)> = Vec::with_capacity(entries.len());
        for entry in entries {
            let Some((key, _)) = fields.get_key_value(&*canonical(&entry.key)) else {
                self.unknown(entry, fields.keys().map(String::as_str), at);
                continue;
            };
            match known.iter().find(|(known, _)| known == key) {
                Some((_, earlier)) => self.check_same(earlier, entry, at),
                None => known.push((key, entry)),
            }
        }
        known
    }

    /// The first of two entries with the same key counts: they had better say the same.
    fn check_same(&mut self, earlier: &Entry, entry: &Entry, at: &At<'_>) {
        let overridden = matches!(earlier.origin, Origin::Variable(_));
        if !overridden && !same_content(&earlier.value, &entry.value) {
            let written = at.written.field(&entry.key).path();
            let message = format!("differs from `{}`, which is the same key", earlier.key);
            self.report.found(&written, &entry.origin, message);
        }
    }

    fn unknown<'k>(&mut self, entry: &Entry, known: impl Iterator<Item = &'k str>, at: &At<'_>) {
        let key = canonical(&entry.key);
        let pattern = at.key.field(&key).path().pattern();
        let written = at.written.field(&entry.key).path();
        if later::is_key(&pattern) {
            if !later::is_idle(&pattern, &entry.value) {
                self.report.found(&written, &entry.origin, later::MESSAGE);
            }
            return;
        }
        let above = at.key.path().pattern();
        let known: Vec<&str> = known.chain(later::keys_under(&above)).collect();
        if let Origin::Variable(name) = &entry.origin
            && let Some(remedy) = right_variable(name, &key, at.written.path().depth(), &known)
        {
            let message = format!("unknown variable, did you mean `{remedy}`?");
            return self.report.variable(name, message);
        }
        self.report.found(
            &written,
            &entry.origin,
            format!("unknown key{}", hint(&key, known)),
        );
    }

    /// A mapping whose keys are the operator's.
    fn entries(&mut self, entries: &[Entry], each: &Shape, at: &At<'_>) -> Value {
        let mut value = Map::new();
        for entry in entries {
            let at = at.entry(&entry.key);
            if let Some(fitted) = self.value(&entry.value, each, &at) {
                value.insert(entry.key.clone(), fitted);
            }
        }
        value.into()
    }

    fn items(&mut self, items: &[Node], each: &Shape, at: &At<'_>) -> Value {
        let mut kept = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            // An item that does not fit is left out, and its place taken by the next.
            let at = At {
                key: at.key.item(kept.len()),
                written: at.written.item(index),
            };
            if item.is_null() {
                self.problem(item, &at, "nothing is written here; remove the `-`");
                item.is_left_out.set(true);
                continue;
            }
            match self.value(item, each, &at) {
                Some(value) => kept.push(value),
                None => item.is_left_out.set(true),
            }
        }
        kept.into()
    }

    fn whole_number(
        &mut self,
        node: &Node,
        text: &str,
        expected: &Integer,
        at: &At<'_>,
    ) -> Option<Value> {
        let plain = plain_number(text).and_then(|number| i64::try_from(number).ok());
        let number = plain.or_else(|| serde_yaml::from_str::<i64>(text).ok());
        let within = number.filter(|number| expected.has(*number));
        if within.is_none() {
            let message = format!("{}, found {text}", expected.expected());
            self.problem(node, at, message);
        }
        within.map(Value::from)
    }

    fn text(&mut self, node: &Node, text: &str, expected: &Text, at: &At<'_>) -> Option<Value> {
        let format = expected.format.as_str();
        let fits = TEXT_FORMATS.iter().find(|(name, _)| *name == format);
        let checked = match fits {
            _ if text.is_empty() && may_be_empty(format) => Ok(String::new()),
            _ if may_be_reference(format) => self
                .resolver
                .resolve(text)
                .map_err(|unresolved| unresolved.to_string()),
            Some((_, fits)) => fits(text).map(|()| text.to_owned()),
            None => Ok(text.to_owned()),
        };
        match checked {
            Ok(text) => Some(text.into()),
            Err(message) => {
                self.problem(node, at, message);
                None
            }
        }
    }

    /// One of a few words; `-` and `_` are the same.
    fn word(&mut self, node: &Node, words: &[String], at: &At<'_>) -> Option<Value> {
        let words = words.iter().map(String::as_str);
        let Content::Scalar(Scalar::Text | Scalar::Bool(_), text) = &node.content else {
            let message = format!("expected one of {}, found {}", quoted(words), node.kind());
            self.problem(node, at, message);
            return None;
        };
        let word = canonical(text);
        if words.clone().any(|one| one == word) {
            return Some(word.into());
        }
        let message = if later::is_value(&at.key.path().pattern(), &word) {
            format!("`{word}` is {}", later::MESSAGE)
        } else {
            format!(
                "expected one of {}, found `{}`{}",
                quoted(words.clone()),
                shown(text),
                hint(&word, words)
            )
        };
        self.problem(node, at, message);
        None
    }
}

/// The variable's name with the unknown part of it put right.
fn right_variable(name: &str, key: &str, depth: usize, known: &[&str]) -> Option<String> {
    let name = name.strip_prefix(PREFIX)?;
    let mut parts: Vec<String> = name.split("__").map(str::to_owned).collect();
    let part = parts
        .get_mut(depth)
        .filter(|part| part.eq_ignore_ascii_case(key))?;
    // SERVER_PORT for SERVER__PORT.
    let one_line_short = known.iter().find_map(|known| {
        let rest = key.strip_prefix(known)?.strip_prefix('_')?;
        Some(format!("{known}__{rest}").to_uppercase())
    });
    let close = || nearest(key, known.iter().copied()).map(str::to_uppercase);
    *part = one_line_short.or_else(close)?;
    Some(format!("{PREFIX}{}", parts.join("__")))
}

fn same_content(one: &Node, other: &Node) -> bool {
    match (&one.content, &other.content) {
        (Content::Scalar(Scalar::Text, one), Content::Scalar(Scalar::Text, other)) => one == other,
        (Content::Scalar(one, _), Content::Scalar(other, _)) => one == other,
        (Content::List(one), Content::List(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(a, b)| same_content(a, b))
        }
        (Content::Map(one), Content::Map(other)) => {
            one.len() == other.len()
                && one
                    .iter()
                    .zip(other)
                    .all(|(a, b)| a.key == b.key && same_content(&a.value, &b.value))
        }
        _ => false,
    }
}
