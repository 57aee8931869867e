//! What a schema expects of a node, for `shape` and in words.

use serde_json::Value as Schema;
use serde_yaml::Value;

use crate::document::DECIMAL;
use crate::locate::Origin;
use crate::tree::{Content, Node};

/// The first type that is not null.
pub(crate) fn type_of(schema: &Schema) -> &str {
    let named = match &schema["type"] {
        Schema::Array(types) => types
            .iter()
            .filter_map(Schema::as_str)
            .find(|t| *t != "null"),
        one => one.as_str(),
    };
    named.unwrap_or_default()
}

/// Whether a scalar may stand where text is expected: text does; a number does where the schema
/// says so, and in an environment variable, where quotes are the shell's.
pub(crate) fn is_text(value: &Value, node: &Node, schema: &Schema) -> bool {
    let types = schema["type"].as_array();
    let is_number = |one: &Schema| one == "integer" || one == "number";
    let takes_numbers = types.is_some_and(|types| types.iter().any(is_number));
    match value {
        Value::String(_) => true,
        Value::Number(_) if takes_numbers => true,
        Value::Number(_) | Value::Bool(_) => matches!(node.origin, Origin::Variable(_)),
        _ => false,
    }
}

/// The words of an enum, written as `enum` or as one `const` each.
pub(crate) fn choices(schema: &Schema) -> Option<Vec<&str>> {
    if let Some(list) = schema["enum"].as_array()
        && !list.iter().any(Schema::is_number)
    {
        return Some(list.iter().filter_map(Schema::as_str).collect());
    }
    if let Some(word) = schema["const"].as_str() {
        return Some(vec![word]);
    }
    let alternatives = schema["oneOf"].as_array()?;
    Some(alternatives.iter().filter_map(choices).flatten().collect())
}

/// The least and the most of a whole number.
pub(crate) fn range(schema: &Schema) -> (i64, i64) {
    let least = schema["minimum"].as_i64().unwrap_or(i64::MIN);
    let most = schema["maximum"].as_i64().unwrap_or(i64::MAX);
    (least, most)
}

/// The few numbers that may stand there.
pub(crate) fn numbers(schema: &Schema) -> Option<Vec<i64>> {
    let list = schema["enum"].as_array()?;
    list.iter().map(Schema::as_i64).collect()
}

/// What belongs there, in words.
pub(crate) fn expected(schema: &Schema) -> String {
    if let Some(numbers) = numbers(schema) {
        let numbers: Vec<String> = numbers.iter().map(i64::to_string).collect();
        return format!("expected one of {}", numbers.join(", "));
    }
    let what = match (type_of(schema), range(schema)) {
        ("object", _) => "a mapping".to_owned(),
        ("array", _) => "a list".to_owned(),
        ("boolean", _) => "true or false".to_owned(),
        ("integer", (i64::MIN, i64::MAX)) => "a whole number".to_owned(),
        ("integer", (least, i64::MAX)) => format!("a whole number from {least}"),
        ("integer", (least, most)) => format!("a whole number from {least} to {most}"),
        _ if schema["format"] == DECIMAL => "a number".to_owned(),
        _ => "text".to_owned(),
    };
    format!("expected {what}")
}

/// Something else was written there.
pub(crate) fn mismatch(node: &Node, schema: &Schema) -> String {
    let quotes = match (&node.content, type_of(schema), schema["format"].as_str()) {
        (Content::Scalar(..), "string", Some("human-duration")) => {
            return format!("expected a duration such as 30s, found {}", node.kind());
        }
        (_, _, Some(DECIMAL)) => "",
        (Content::Scalar(Value::Number(_) | Value::Bool(_), _), "string", _) => {
            "; put it in quotes"
        }
        _ => "",
    };
    format!("{}, found {}{quotes}", expected(schema), node.kind())
}
