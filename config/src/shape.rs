//! Holds the written tree against the document's schema: unknown keys, wrong types, wrong choices,
//! missing keys, references that lead nowhere. Every one is reported, and what is left fits the
//! document types.
//!
//! The schema is the one derived from those types, so the two cannot drift apart.

use std::collections::BTreeMap;

use serde_json::Value as Schema;
use serde_yaml::{Mapping, Value};

use crate::document::{TEXT_FORMATS, may_be_empty, may_be_reference};
use crate::environment::PREFIX;
use crate::expected::{choices, expected, is_text, mismatch, numbers, range, type_of};
use crate::later;
use crate::locate::{Origin, Path, Report};
use crate::nearest::{hint, nearest, quoted};
use crate::resolve::Resolver;
use crate::tree::{Content, Entry, Node, plain_number, shown};

/// The value of `tree` with canonical keys, references resolved, and without what was wrong.
pub(crate) fn fit(
    tree: &Node,
    schema: &Schema,
    resolver: &mut Resolver<'_>,
    report: &mut Report,
) -> Value {
    let mut walk = Walk {
        root: schema,
        resolver,
        report,
    };
    let at = At {
        key: Path::default(),
        written: Path::default(),
    };
    walk.value(tree, schema, &at)
        .unwrap_or_else(|| Mapping::new().into())
}

struct Walk<'a, 'b> {
    root: &'a Schema,
    resolver: &'a mut Resolver<'b>,
    report: &'a mut Report,
}

/// Where the walk is: the document's key, and the same as the operator wrote it.
struct At {
    key: Path,
    written: Path,
}

impl At {
    fn field(&self, key: &str, written: &str) -> Self {
        Self {
            key: self.key.field(key),
            written: self.written.field(&shown(written)),
        }
    }

    fn entry(&self, key: &str) -> Self {
        Self {
            key: self.key.entry(key),
            written: self.written.entry(&shown(key)),
        }
    }
}

impl<'a> Walk<'a, '_> {
    /// `None` when nothing usable is written there.
    fn value(&mut self, node: &Node, schema: &'a Schema, at: &At) -> Option<Value> {
        self.report.place(&at.key, &at.written, &node.origin);
        let schema = self.variant(node, schema);
        if let Some(choices) = choices(schema) {
            return self.choice(node, &choices, at);
        }
        match (&node.content, type_of(schema)) {
            (Content::Map(entries), "object") if schema["properties"].is_object() => {
                self.fields(node, entries, schema, at)
            }
            (Content::Map(entries), "object") => self.entries(entries, schema, at),
            // `server:` with everything under it commented out.
            (Content::Scalar(Value::Null, _), "object") => Some(Mapping::new().into()),
            (Content::List(items), "array") => Some(self.items(items, schema, at)),
            (Content::Scalar(value @ Value::Bool(_), _), "boolean") => Some(value.clone()),
            (Content::Scalar(Value::Number(_), text), "integer") => {
                self.whole_number(node, text, schema, at)
            }
            (Content::Scalar(value, text), "string") if is_text(value, node, schema) => {
                self.text(node, text, schema, at)
            }
            _ => {
                let message = mismatch(node, schema);
                self.problem(node, at, message);
                None
            }
        }
    }

    fn problem(&mut self, node: &Node, at: &At, message: impl Into<String>) {
        self.report.found(&at.written, &node.origin, message);
    }

    /// Follows a reference, and picks the alternative that `node` looks like.
    fn variant(&self, node: &Node, schema: &'a Schema) -> &'a Schema {
        if let Some(pointer) = schema["$ref"].as_str() {
            let target = self.root.pointer(pointer.trim_start_matches('#'));
            return self.variant(node, target.unwrap_or(&Schema::Null));
        }
        let Some(variants) = schema["anyOf"].as_array() else {
            return schema;
        };
        let is_map = matches!(node.content, Content::Map(_));
        let mut fitting = variants.iter().map(|variant| self.variant(node, variant));
        let fits = |variant: &&Schema| match type_of(variant) {
            "object" => is_map,
            "null" => false,
            _ => !is_map,
        };
        let first = fitting.clone().find(|variant| type_of(variant) != "null");
        fitting.find(fits).or(first).unwrap_or(schema)
    }

    fn fields(
        &mut self,
        node: &Node,
        entries: &[Entry],
        schema: &'a Schema,
        at: &At,
    ) -> Option<Value> {
        let properties = schema["properties"].as_object()?;
        let mut known: BTreeMap<String, &Entry> = BTreeMap::new();
        for entry in entries {
            let key = entry.key.replace('-', "_");
            if !properties.contains_key(&key) {
                self.unknown(entry, properties.keys().map(String::as_str), at);
            } else if let Some(kept) = self.same_key(known.get(&key).copied(), entry, at) {
                known.insert(key, kept);
            }
        }
        let mut value = Mapping::new();
        let mut complete = true;
        for (key, property) in properties {
            let written = known
                .get(key)
                .copied()
                .filter(|entry| !entry.value.is_null());
            let field = written.and_then(|entry| {
                let at = at.field(key, &entry.key);
                let field = self.value(&entry.value, property, &at);
                // The key's line says more than that of an anchor or of a list's first item.
                self.report.place(&at.key, &at.written, &entry.origin);
                field
            });
            let required = schema["required"].as_array();
            if required.is_some_and(|names| names.iter().any(|name| name == key)) {
                complete &= field.is_some();
                if written.is_none() {
                    let at = at.field(key, key);
                    self.problem(node, &at, "missing; this key is required");
                }
            }
            if let Some(field) = field {
                value.insert(key.as_str().into(), field);
            }
        }
        complete.then(|| value.into())
    }

    /// Which of two entries with the same key counts; `None` leaves what was there.
    fn same_key<'e>(
        &mut self,
        earlier: Option<&'e Entry>,
        entry: &'e Entry,
        at: &At,
    ) -> Option<&'e Entry> {
        let Some(earlier) = earlier else {
            return Some(entry);
        };
        let overridden = matches!(earlier.origin, Origin::Variable(_));
        if !overridden && !same_content(&earlier.value, &entry.value) {
            let written = at.written.field(&entry.key);
            let message = format!("differs from `{}`, which is the same key", earlier.key);
            self.report.found(&written, &entry.origin, message);
        }
        None
    }

    fn unknown<'k>(&mut self, entry: &Entry, known: impl Iterator<Item = &'k str>, at: &At) {
        let key = entry.key.replace('-', "_");
        let pattern = at.key.field(&key).pattern();
        let written = at.written.field(&shown(&entry.key));
        if later::is_key(&pattern) {
            if !later::is_idle(&pattern, &entry.value) {
                self.report.found(&written, &entry.origin, later::MESSAGE);
            }
            return;
        }
        let above = at.key.pattern();
        let known: Vec<&str> = known.chain(later::keys_under(&above)).collect();
        if let Origin::Variable(name) = &entry.origin
            && let Some(remedy) = right_variable(name, &key, at.written.depth(), &known)
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
    fn entries(&mut self, entries: &[Entry], schema: &'a Schema, at: &At) -> Option<Value> {
        let mut value = Mapping::new();
        for entry in entries {
            let at = at.entry(&entry.key);
            let fitted = self.value(&entry.value, &schema["additionalProperties"], &at);
            self.report.place(&at.key, &at.written, &entry.origin);
            if let Some(fitted) = fitted {
                value.insert(entry.key.as_str().into(), fitted);
            }
        }
        Some(value.into())
    }

    fn items(&mut self, items: &[Node], schema: &'a Schema, at: &At) -> Value {
        let mut kept = Vec::new();
        for (index, item) in items.iter().enumerate() {
            // An item that does not fit is left out, and its place taken by the next.
            let at = At {
                key: at.key.item(kept.len()),
                written: at.written.item(index),
            };
            if item.is_null() {
                self.problem(item, &at, "nothing is written here; remove the `-`");
            } else {
                match self.value(item, &schema["items"], &at) {
                    Some(value) => kept.push(value),
                    None => self.report.forget(&at.key),
                }
            }
        }
        Value::Sequence(kept)
    }

    fn whole_number(&mut self, node: &Node, text: &str, schema: &Schema, at: &At) -> Option<Value> {
        let (least, most) = range(schema);
        let plain = plain_number(text).and_then(|number| i64::try_from(number).ok());
        let number = plain.or_else(|| serde_yaml::from_str::<i64>(text).ok());
        let listed = numbers(schema);
        let within = number.filter(|number| {
            let is_listed = listed.as_ref().is_none_or(|list| list.contains(number));
            (least..=most).contains(number) && is_listed
        });
        if within.is_none() {
            let message = format!("{}, found {text}", expected(schema));
            self.problem(node, at, message);
        }
        within.map(Value::from)
    }

    fn text(&mut self, node: &Node, text: &str, schema: &Schema, at: &At) -> Option<Value> {
        let format = schema["format"].as_str().unwrap_or_default();
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
    fn choice(&mut self, node: &Node, choices: &[&str], at: &At) -> Option<Value> {
        let Content::Scalar(Value::String(_) | Value::Bool(_), text) = &node.content else {
            let message = format!(
                "expected one of {}, found {}",
                quoted(choices.iter().copied()),
                node.kind()
            );
            self.problem(node, at, message);
            return None;
        };
        let word = text.replace('-', "_");
        if choices.contains(&word.as_str()) {
            return Some(word.into());
        }
        let message = if later::is_value(&at.key.pattern(), &word) {
            format!("`{word}` is {}", later::MESSAGE)
        } else {
            let choices = choices.iter().copied();
            format!(
                "expected one of {}, found `{}`{}",
                quoted(choices.clone()),
                shown(text),
                hint(&word, choices)
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
