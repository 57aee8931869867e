//! From a parser's events to nodes.

use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Parser, ScalarStyle, StrInput, Tag};
use serde_yaml::Value;

use super::{Content, Entry, Node, Scalar, SyntaxError};
use crate::locate::{Origin, Trail};

/// Aliases may repeat a file's content, but not without end.
const MOST_NODES: usize = 500_000;

pub(super) struct Builder<'a> {
    events: Parser<'a, StrInput<'a>>,
    anchors: HashMap<usize, Node>,
    repeated: &'a mut Vec<SyntaxError>,
    origin_of: &'a dyn Fn(usize) -> Origin,
    nodes: usize,
    line: usize,
}

impl<'a> Builder<'a> {
    pub(super) fn new(
        text: &'a str,
        repeated: &'a mut Vec<SyntaxError>,
        origin_of: &'a dyn Fn(usize) -> Origin,
    ) -> Self {
        Self {
            events: Parser::new_from_str(text),
            anchors: HashMap::new(),
            repeated,
            origin_of,
            nodes: 0,
            line: 1,
        }
    }

    /// The one document; `None` when there is none.
    pub(super) fn root(&mut self) -> Result<Option<Node>, SyntaxError> {
        loop {
            match self.next()? {
                Event::StreamStart | Event::DocumentStart(_) => {}
                Event::StreamEnd | Event::Nothing | Event::DocumentEnd => return Ok(None),
                event => {
                    let root = self.node(event, &Trail::default())?;
                    self.end()?;
                    return Ok(Some(root));
                }
            }
        }
    }

    fn next(&mut self) -> Result<Event<'a>, SyntaxError> {
        match self.events.next() {
            None => Ok(Event::StreamEnd),
            Some(Ok((event, span))) => {
                self.line = span.start.line();
                Ok(event)
            }
            Some(Err(error)) => {
                let at = error.marker();
                let message = format!("column {}: {}", at.col() + 1, error.info());
                Err(SyntaxError::new(at.line(), message))
            }
        }
    }

    /// One file is one document: what a second one says would be lost.
    fn end(&mut self) -> Result<(), SyntaxError> {
        loop {
            match self.next()? {
                Event::StreamEnd => return Ok(()),
                Event::DocumentStart(_) => {
                    return Err(SyntaxError::new(self.line, "a second document begins here"));
                }
                _ => {}
            }
        }
    }

    fn node(&mut self, event: Event<'a>, at: &Trail<'_>) -> Result<Node, SyntaxError> {
        self.count(1)?;
        let origin = (self.origin_of)(self.line);
        let (anchor, content) = match event {
            Event::Alias(anchor) => return self.alias(anchor),
            Event::Scalar(text, style, anchor, tag) => {
                (anchor, scalar(text.into_owned(), style, tag.as_deref()))
            }
            Event::SequenceStart(anchor, _) => (anchor, Content::List(self.list(at)?)),
            Event::MappingStart(anchor, _) => (anchor, Content::Map(self.map(at)?)),
            _ => {
                return Err(SyntaxError::new(
                    self.line,
                    "unexpected end of the document",
                ));
            }
        };
        let node = Node::new(origin, content);
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn alias(&mut self, anchor: usize) -> Result<Node, SyntaxError> {
        let Some(node) = self.anchors.get(&anchor).cloned() else {
            return Err(SyntaxError::new(
                self.line,
                "alias of an anchor that is not complete yet",
            ));
        };
        self.count(size(&node))?;
        Ok(node)
    }

    fn count(&mut self, more: usize) -> Result<(), SyntaxError> {
        self.nodes += more;
        if self.nodes > MOST_NODES {
            return Err(SyntaxError::new(
                self.line,
                "too large once its aliases are expanded",
            ));
        }
        Ok(())
    }

    fn list(&mut self, at: &Trail<'_>) -> Result<Vec<Node>, SyntaxError> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                Event::SequenceEnd => return Ok(items),
                event => {
                    let item = self.node(event, &at.item(items.len()))?;
                    items.push(item);
                }
            }
        }
    }

    fn map(&mut self, at: &Trail<'_>) -> Result<Vec<Entry>, SyntaxError> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut seen = HashSet::new();
        let mut merged = Vec::new();
        loop {
            let event = self.next()?;
            if matches!(event, Event::MappingEnd) {
                break;
            }
            let line = self.line;
            let key = self.key(event, at)?;
            let event = self.next()?;
            let value = self.node(event, &at.field(&key))?;
            if key == "<<" {
                merged.push(value);
            } else if !seen.insert(key.clone()) {
                let message = String::from("written twice in one mapping");
                self.repeated.push(SyntaxError {
                    line,
                    path: at.field(&key).path(),
                    message,
                });
            } else {
                entries.push(Entry {
                    key,
                    origin: (self.origin_of)(line),
                    value,
                });
            }
        }
        merge(&mut entries, merged);
        Ok(entries)
    }

    fn key(&mut self, event: Event<'a>, at: &Trail<'_>) -> Result<String, SyntaxError> {
        let line = self.line;
        if let Event::Scalar(text, _, 0, _) = event {
            // What it means as a value does not matter.
            self.count(1)?;
            return Ok(text.into_owned());
        }
        match self.node(event, at)?.content {
            Content::Scalar(_, key) => Ok(key),
            _ => Err(SyntaxError::new(line, "a key must be plain text")),
        }
    }
}

/// `<<: *defaults`: what the mapping does not say itself.
fn merge(entries: &mut Vec<Entry>, merged: Vec<Node>) {
    for node in merged {
        match node.content {
            Content::List(nodes) => merge(entries, nodes),
            Content::Map(defaults) => {
                for default in defaults {
                    if entries.iter().all(|entry| entry.key != default.key) {
                        entries.push(default);
                    }
                }
            }
            Content::Scalar(..) => {}
        }
    }
}

fn size(node: &Node) -> usize {
    match &node.content {
        Content::Scalar(..) => 1,
        Content::List(items) => 1 + items.iter().map(size).sum::<usize>(),
        Content::Map(entries) => {
            1 + entries
                .iter()
                .map(|entry| size(&entry.value))
                .sum::<usize>()
        }
    }
}

fn scalar(text: String, style: ScalarStyle, tag: Option<&Tag>) -> Content {
    let is_text = style != ScalarStyle::Plain || tag.is_some_and(|tag| tag.suffix == "str");
    let meaning = if is_text {
        Scalar::Text
    } else {
        meaning(&text)
    };
    Content::Scalar(meaning, text)
}

/// What a plain scalar means. A parser for each would take most of the time that a large file takes:
/// only what is neither clearly a text nor a plain number gets one.
fn meaning(text: &str) -> Scalar {
    if is_clearly_text(text) {
        return Scalar::Text;
    }
    if let Some(number) = plain_number(text) {
        return Scalar::Number(number.into());
    }
    parsed(text)
}

fn parsed(text: &str) -> Scalar {
    match serde_yaml::from_str(text) {
        Ok(Value::Null) => Scalar::Null,
        Ok(Value::Bool(value)) => Scalar::Bool(value),
        Ok(Value::Number(value)) => Scalar::Number(value),
        _ => Scalar::Text,
    }
}

/// Whether it begins as nothing but a text does, and is none of YAML's words.
fn is_clearly_text(text: &str) -> bool {
    let begins = text.starts_with(|first: char| first.is_ascii_alphabetic());
    let is_word = |word: &str| text.eq_ignore_ascii_case(word);
    begins && !["null", "true", "false"].into_iter().any(is_word)
}

/// The number, where it is written in digits as numbers usually are.
pub(crate) fn plain_number(text: &str) -> Option<u64> {
    let is_usual = text == "0" || !text.starts_with(['0', '+']);
    is_usual.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn scalars_mean_what_a_parser_says(
            text in "[0-9+.xoe_-]{0,6}|[a-zA-Z0-9:._ -]{1,12}|[0-9]{1,25}|~|\\PC{1,4}"
        ) {
            prop_assert_eq!(meaning(&text), parsed(&text));
        }
    }

    #[test]
    fn so_do_the_words() {
        let words = "null Null NULL nULL ~ true True TRUE false yes No nan .inf -.INF 0 00 007 0x1f 0o17 \
            1e3 +5 -5 18446744073709551615 18446744073709551616";
        for word in words.split(' ') {
            assert_eq!(meaning(word), parsed(word), "{word}");
        }
    }
}
