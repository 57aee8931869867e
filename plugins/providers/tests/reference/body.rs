use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use turnpike_providers::{MAX_MODEL, ScanError, scan};

/// A document that keeps every member, equal keys too.
#[derive(Clone, Debug, PartialEq)]
enum Node {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List,
    Object(Vec<(String, Node)>),
}

/// What the scan must say, read from a document; `None` when it must refuse.
#[derive(Debug, PartialEq)]
struct Expected {
    model: Option<String>,
    stream: bool,
    max_tokens: Option<f64>,
    include_usage: bool,
}

/// Panics when the scan and `serde_json` disagree on `body`.
pub(crate) fn agree(body: &[u8]) {
    let scanned = scan(body);
    let parsed: Result<serde_json::Value, _> = serde_json::from_slice(body);
    let Ok(value) = parsed else {
        let error = scanned.expect_err("serde_json refuses what the scan accepts");
        assert!(
            !matches!(error, ScanError::TooDeep) || body.len() > 127,
            "{error} of a short body"
        );
        return;
    };
    if !value.is_object() {
        assert_eq!(scanned, Err(ScanError::NotAnObject));
        return;
    }
    let Ok(Node::Object(members)) = serde_json::from_slice(body) else {
        panic!("an object")
    };
    let expected = expected(&members);
    let got = scanned.as_ref().ok().map(|scan| Expected {
        model: scan.model.as_ref().map(|model| model.name.to_string()),
        stream: scan.stream,
        max_tokens: scan.max_tokens.map(|tokens| tokens as f64),
        include_usage: scan.include_usage,
    });
    match (&got, &expected) {
        // Rounding of huge numbers is the parser's affair.
        (
            Some(Expected {
                max_tokens: Some(a),
                ..
            }),
            Some(Expected {
                max_tokens: Some(b),
                ..
            }),
        ) if (a - b).abs() <= b * 1e-9 => {}
        _ => assert_eq!(got, expected, "the scan said {scanned:?}"),
    }
    if let Ok(scan) = scanned {
        let text =
            |span| serde_json::from_slice::<serde_json::Value>(&body[span]).expect("a value");
        if let Some(model) = scan.model {
            assert_eq!(text(model.span), model.name.as_ref());
        }
        if let Some(span) = scan.stream_options {
            assert_eq!(text(span), value["stream_options"]);
        }
    }
}

/// Whether two keys are taken for each other by a parser that folds their case, as Go's does.
fn is_spelling_of(name: &str, key: &str) -> bool {
    name.to_lowercase().replace('ſ', "s") == key
}

fn expected(members: &[(String, Node)]) -> Option<Expected> {
    for key in ["model", "stream"] {
        let spellings = members
            .iter()
            .filter(|(name, _)| is_spelling_of(name, key))
            .count();
        if spellings > 1 {
            return None;
        }
    }
    let once = |key: &str| {
        let mut found = members
            .iter()
            .filter(|(name, _)| name == key)
            .map(|(_, value)| value);
        let first = found.next();
        if found.next().is_some() {
            Err(())
        } else {
            Ok(first)
        }
    };
    let model = match once("model").ok()? {
        None => None,
        Some(Node::Text(name)) if (1..=MAX_MODEL).contains(&name.len()) => Some(name.clone()),
        Some(_) => return None,
    };
    let stream = match once("stream").ok()? {
        None | Some(Node::Null) => false,
        Some(Node::Bool(stream)) => *stream,
        Some(_) => return None,
    };
    let include_usage = match once("stream_options").ok()? {
        Some(Node::Object(options)) => {
            let last = options.iter().rfind(|(name, _)| name == "include_usage");
            matches!(last, Some((_, Node::Bool(true))))
        }
        _ => false,
    };
    let mut bounds = Vec::new();
    for key in ["max_tokens", "max_completion_tokens", "max_output_tokens"] {
        bounds.extend(once(key).ok()?);
    }
    for (name, value) in members {
        let Node::Object(config) = value else {
            continue;
        };
        if name == "generationConfig" || name == "generation_config" {
            let named = |name: &str| name == "maxOutputTokens" || name == "max_output_tokens";
            bounds.extend(
                config
                    .iter()
                    .filter(|(name, _)| named(name))
                    .map(|(_, value)| value),
            );
        }
    }
    let counts = bounds.iter().filter_map(|bound| match bound {
        Node::Number(number) if *number >= 0.0 => Some(number.ceil().min(u64::MAX as f64)),
        _ => None,
    });
    Some(Expected {
        model,
        stream,
        max_tokens: counts.reduce(f64::max),
        include_usage,
    })
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Nodes)
    }
}

struct Nodes;

impl<'de> Visitor<'de> for Nodes {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Number(value as f64))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Number(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Number(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        while items.next_element::<Node>()?.is_some() {}
        Ok(Node::List)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Node::Object(members))
    }
}
