//! What is expected of a node: the schema, read once for all nodes, and in words.

use std::collections::BTreeMap;

use serde_json::Value as Schema;

use crate::document::DECIMAL;
use crate::locate::Origin;
use crate::tree::{Content, Node, Scalar};

/// What may be written somewhere. A schema would have to be asked again at each of many thousand nodes.
pub(crate) enum Shape {
    /// A mapping with these keys.
    Fields(BTreeMap<String, Field>),
    /// A mapping whose keys are the operator's.
    Entries(Box<Shape>),
    List(Box<Shape>),
    Bool,
    Integer(Integer),
    Text(Text),
    /// One of these.
    Word(Vec<String>),
    /// What the node looks like.
    AnyOf(Vec<Shape>),
    Nothing,
}

pub(crate) struct Field {
    pub(crate) shape: Shape,
    pub(crate) is_required: bool,
}

pub(crate) struct Integer {
    least: i64,
    most: i64,
    /// The few that may stand there.
    listed: Option<Vec<i64>>,
}

pub(crate) struct Text {
    /// Empty = any.
    pub(crate) format: String,
    /// Whether a number need not be in quotes.
    takes_numbers: bool,
}

impl Shape {
    /// Of a schema whose parts do not hold themselves.
    pub(crate) fn of(schema: &Schema) -> Self {
        Self::of_part(schema, schema)
    }

    fn of_part(part: &Schema, root: &Schema) -> Self {
        let of_part = |part| Self::of_part(part, root);
        if let Some(pointer) = part["$ref"].as_str() {
            let target = root.pointer(pointer.trim_start_matches('#'));
            return target.map_or(Self::Nothing, of_part);
        }
        if let Some(variants) = part["anyOf"].as_array() {
            let variants = variants.iter().map(of_part);
            let is_something = |variant: &Self| !matches!(variant, Self::Nothing);
            return Self::AnyOf(variants.filter(is_something).collect());
        }
        if let Some(words) = words(part) {
            return Self::Word(words);
        }
        match type_of(part) {
            "object" => match part["properties"].as_object() {
                Some(_) => Self::Fields(fields(part, root)),
                None => Self::Entries(of_part(&part["additionalProperties"]).into()),
            },
            "array" => Self::List(of_part(&part["items"]).into()),
            "boolean" => Self::Bool,
            "integer" => Self::Integer(Integer::of(part)),
            "string" => Self::Text(Text::of(part)),
            _ => Self::Nothing,
        }
    }

    /// The alternative that `node` looks like, where there are several.
    pub(crate) fn variant(&self, node: &Node) -> &Self {
        let Self::AnyOf(variants) = self else {
            return self;
        };
        let is_map = matches!(node.content, Content::Map(_));
        let mut fitting = variants.iter().map(|variant| variant.variant(node));
        let first = fitting.clone().next();
        let fits = fitting.find(|variant| variant.is_map() == is_map);
        fits.or(first).unwrap_or(&Self::Nothing)
    }

    fn is_map(&self) -> bool {
        matches!(self, Self::Fields(_) | Self::Entries(_))
    }

    /// What belongs there, in words.
    fn expected(&self) -> String {
        let what = match self {
            Self::Integer(integer) => return integer.expected(),
            Self::Fields(_) | Self::Entries(_) => "a mapping",
            Self::List(_) => "a list",
            Self::Bool => "true or false",
            Self::Text(text) if text.format == DECIMAL => "a number",
            Self::Text(_) | Self::Word(_) | Self::AnyOf(_) | Self::Nothing => "text",
        };
        format!("expected {what}")
    }

    /// Something else was written there.
    pub(crate) fn mismatch(&self, node: &Node) -> String {
        let quotes = match (&node.content, self) {
            (Content::Scalar(..), Self::Text(text)) if text.format == "human-duration" => {
                return format!("expected a duration such as 30s, found {}", node.kind());
            }
            (Content::Scalar(Scalar::Number(_) | Scalar::Bool(_), _), Self::Text(text))
                if text.format != DECIMAL =>
            {
                "; put it in quotes"
            }
            _ => "",
        };
        format!("{}, found {}{quotes}", self.expected(), node.kind())
    }
}

fn fields(part: &Schema, root: &Schema) -> BTreeMap<String, Field> {
    let required = part["required"].as_array();
    let is_required = |name| required.is_some_and(|names| names.iter().any(|one| one == name));
    let properties = part["properties"].as_object().into_iter().flatten();
    let fields = properties.map(|(name, part)| {
        let field = Field {
            shape: Shape::of_part(part, root),
            is_required: is_required(name),
        };
        (name.clone(), field)
    });
    fields.collect()
}

impl Integer {
    fn of(part: &Schema) -> Self {
        let listed = part["enum"].as_array();
        Self {
            least: part["minimum"].as_i64().unwrap_or(i64::MIN),
            most: part["maximum"].as_i64().unwrap_or(i64::MAX),
            listed: listed.and_then(|list| list.iter().map(Schema::as_i64).collect()),
        }
    }

    pub(crate) fn has(&self, number: i64) -> bool {
        let is_listed = |list: &Vec<i64>| list.contains(&number);
        (self.least..=self.most).contains(&number) && self.listed.as_ref().is_none_or(is_listed)
    }

    pub(crate) fn expected(&self) -> String {
        if let Some(numbers) = &self.listed {
            let numbers: Vec<String> = numbers.iter().map(i64::to_string).collect();
            return format!("expected one of {}", numbers.join(", "));
        }
        match (self.least, self.most) {
            (i64::MIN, i64::MAX) => "expected a whole number".to_owned(),
            (least, i64::MAX) => format!("expected a whole number from {least}"),
            (least, most) => format!("expected a whole number from {least} to {most}"),
        }
    }
}

impl Text {
    fn of(part: &Schema) -> Self {
        let types = part["type"].as_array();
        let is_number = |one: &Schema| one == "integer" || one == "number";
        Self {
            format: part["format"].as_str().unwrap_or_default().to_owned(),
            takes_numbers: types.is_some_and(|types| types.iter().any(is_number)),
        }
    }

    /// Whether a scalar may stand where text is expected: text does; a number does where the schema
    /// says so, and in an environment variable, where quotes are the shell's.
    pub(crate) fn takes(&self, value: &Scalar, node: &Node) -> bool {
        match value {
            Scalar::Text => true,
            Scalar::Number(_) if self.takes_numbers => true,
            Scalar::Number(_) | Scalar::Bool(_) => matches!(node.origin, Origin::Variable(_)),
            Scalar::Null => false,
        }
    }
}

/// The first type that is not null.
fn type_of(schema: &Schema) -> &str {
    let named = match &schema["type"] {
        Schema::Array(types) => types
            .iter()
            .filter_map(Schema::as_str)
            .find(|t| *t != "null"),
        one => one.as_str(),
    };
    named.unwrap_or_default()
}

/// The words of an enum, written as `enum` or as one `const` each.
fn words(schema: &Schema) -> Option<Vec<String>> {
    if let Some(list) = schema["enum"].as_array()
        && !list.iter().any(Schema::is_number)
    {
        let words = list.iter().filter_map(Schema::as_str);
        return Some(words.map(str::to_owned).collect());
    }
    if let Some(word) = schema["const"].as_str() {
        return Some(vec![word.to_owned()]);
    }
    let alternatives = schema["oneOf"].as_array()?;
    Some(alternatives.iter().filter_map(words).flatten().collect())
}
