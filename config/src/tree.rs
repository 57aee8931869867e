//! The file as a tree whose every node knows its line.
//!
//! `serde_yaml` keeps no lines and stops at its first error, so the tree is built from a parser's
//! events. What a plain scalar means (`0x10`, `~`, `1e3`) is still asked of `serde_yaml`, where that is not
//! seen at once.

mod builder;

use std::borrow::Cow;
use std::cell::Cell;

use serde_yaml::Number;

use crate::locate::{Name, Origin, Path, Step};

use builder::Builder;
pub(crate) use builder::plain_number;

/// A value and where it was written.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) origin: Origin,
    pub(crate) content: Content,
    /// An item of a list of which nothing came into the document: the next one takes its place.
    pub(crate) is_left_out: Cell<bool>,
}

#[derive(Clone)]
pub(crate) enum Content {
    /// What it means, and the text it was written as.
    Scalar(Scalar, String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// What a scalar means.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Scalar {
    Null,
    Bool(bool),
    Number(Number),
    /// That which is written.
    Text,
}

#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) key: String,
    /// Where the key stands; its value may begin on a later line, or at an anchor.
    pub(crate) origin: Origin,
    pub(crate) value: Node,
}

/// Text that is no YAML.
pub(crate) struct SyntaxError {
    pub(crate) line: usize,
    /// The key it is about; empty when the text could not be read that far.
    pub(crate) path: Path,
    pub(crate) message: String,
}

impl SyntaxError {
    fn new(line: usize, message: impl Into<String>) -> Self {
        Self {
            line,
            path: Path::default(),
            message: message.into(),
        }
    }
}

impl Node {
    pub(crate) fn new(origin: Origin, content: Content) -> Self {
        Self {
            origin,
            content,
            is_left_out: Cell::new(false),
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self.content, Content::Scalar(Scalar::Null, _))
    }

    pub(crate) fn empty_map(origin: Origin) -> Self {
        Self::new(origin, Content::Map(Vec::new()))
    }

    /// What stands one step of the document below: the step as it was written, where that is, and
    /// the value. A key's own line says more than that of an anchor or of a list's first item.
    pub(crate) fn step(&self, step: &Step<Name>) -> Option<(Step<Name>, &Origin, &Self)> {
        match (step, &self.content) {
            (Step::Field(name), Content::Map(entries)) => {
                let mut entries = entries.iter();
                let entry = entries.find(|entry| canonical(&entry.key) == *name)?;
                let is_nothing = entry.value.is_null();
                let step = Step::Field(shown(&entry.key).into());
                (!is_nothing).then_some((step, &entry.origin, &entry.value))
            }
            (Step::Entry(name), Content::Map(entries)) => {
                let entry = entries.iter().find(|entry| entry.key == *name)?;
                let step = Step::Entry(shown(name).into());
                Some((step, &entry.origin, &entry.value))
            }
            (Step::Item(index), Content::List(items)) => {
                let items = items.iter().enumerate();
                let mut kept = items.filter(|(_, item)| !item.is_left_out.get());
                let (written, item) = kept.nth(*index)?;
                Some((Step::Item(written), &item.origin, item))
            }
            _ => None,
        }
    }

    /// What a person would call it.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.content {
            Content::List(_) => "a list",
            Content::Map(_) => "a mapping",
            Content::Scalar(Scalar::Null, _) => "nothing",
            Content::Scalar(Scalar::Bool(_), _) => "true or false",
            Content::Scalar(Scalar::Number(_), _) => "a number",
            Content::Scalar(..) => "text",
        }
    }
}

/// Reads `text`; an empty one is an empty mapping. Keys written twice are pushed onto `repeated`
/// and the first one stays.
pub(crate) fn parse(
    text: &str,
    repeated: &mut Vec<SyntaxError>,
    origin_of: &dyn Fn(usize) -> Origin,
) -> Result<Node, SyntaxError> {
    check_syntax(text)?;
    let root = Builder::new(text, repeated, origin_of).root()?;
    Ok(root.unwrap_or_else(|| Node::empty_map(origin_of(1))))
}

/// `serde_yaml` decides what YAML is: the builder's parser takes `{a: b}}`, too. All JSON is YAML, and
/// that a file is JSON, as a program would write a large one, is told in a thirtieth of the time.
fn check_syntax(text: &str) -> Result<(), SyntaxError> {
    if serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() {
        return Ok(());
    }
    match serde_yaml::from_str::<serde::de::IgnoredAny>(text) {
        Ok(_) => Ok(()),
        Err(error) => {
            // No place: no document, which is fine, or two, which the builder reports.
            let Some(at) = error.location() else {
                return Ok(());
            };
            let full = error.to_string();
            let what = full.split(" at line ").next().unwrap_or_default();
            Err(SyntaxError::new(
                at.line(),
                format!("column {}: {what}", at.column()),
            ))
        }
    }
}

/// A known key as the document types spell it: it may be written with `-` for `_`.
pub(crate) fn canonical(key: &str) -> Cow<'_, str> {
    match key.contains('-') {
        true => key.replace('-', "_").into(),
        false => key.into(),
    }
}

/// A key for a message. Nobody names a key at such length: it is more likely a value, perhaps a
/// secret, that lost its key.
pub(crate) fn shown(key: &str) -> String {
    match key.chars().count() {
        0..=40 => key.to_owned(),
        length => format!("… {length} characters …"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Node, SyntaxError> {
        parse(text, &mut Vec::new(), &Origin::Line)
    }

    fn get<'a>(node: &'a Node, key: &str) -> &'a Node {
        let Content::Map(entries) = &node.content else {
            panic!("not a mapping")
        };
        &entries
            .iter()
            .find(|entry| entry.key == key)
            .expect(key)
            .value
    }

    #[test]
    fn aliases_and_merges_are_expanded() {
        let tree = read("a: &x {k: 1, l: 2}\nb:\n  <<: *x\n  l: 3\nc: *x\n")
            .ok()
            .unwrap();
        assert!(matches!(&get(get(&tree, "b"), "l").content, Content::Scalar(_, t) if t == "3"));
        assert!(matches!(&get(get(&tree, "b"), "k").content, Content::Scalar(_, t) if t == "1"));
        assert_eq!(get(get(&tree, "c"), "k").origin, Origin::Line(1));
    }

    #[test]
    fn an_alias_bomb_is_refused() {
        let mut text = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
        for level in 1..10 {
            let aliases = vec![format!("*a{}", level - 1); 10].join(",");
            text.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
        }
        assert!(read(&text).is_err());
    }

    #[test]
    fn json_is_read_as_yaml_and_what_is_nearly_json_is_refused() {
        let tree = read("{\"a\": {\"b\":\n[1, \"\\u00e9\"]}}").ok().unwrap();
        let list = get(get(&tree, "a"), "b");
        assert_eq!((list.kind(), &list.origin), ("a list", &Origin::Line(2)));
        for text in ["{\"a\": 1}}", "{\"a\": 1,,}", "{\"a\": [1}"] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn every_repeated_key_is_reported() {
        let mut repeated = Vec::new();
        parse(
            "a: 1\na: 2\nb: {c: 1, c: 2}\n",
            &mut repeated,
            &Origin::Line,
        )
        .ok()
        .unwrap();
        assert_eq!(
            repeated.iter().map(|error| error.line).collect::<Vec<_>>(),
            [2, 3]
        );
    }

    #[test]
    fn nothing_is_an_empty_mapping() {
        for text in ["", "\n", "# only a comment\n", "---\n"] {
            let tree = read(text).ok().unwrap();
            assert!(tree.is_null() || matches!(tree.content, Content::Map(ref e) if e.is_empty()));
        }
    }
}
