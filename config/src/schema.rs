//! The JSON schema of the configuration file, for editors and for `shape`.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use crate::document::{Document, PriceFile};
use crate::expected::Shape;

/// What a document may hold.
pub(crate) static DOCUMENT: LazyLock<Shape> = LazyLock::new(|| Shape::of(&of_document()));

/// What a file of prices may hold.
pub(crate) static PRICES: LazyLock<Shape> =
    LazyLock::new(|| Shape::of(&schemars::schema_for!(PriceFile).to_value()));

/// The schema of the document types, and nothing else.
fn of_document() -> Value {
    schemars::schema_for!(Document).to_value()
}

/// The JSON schema (draft 2020-12) of the configuration file, with both spellings of every key.
pub fn schema() -> Value {
    let mut schema = of_document();
    add_dashes(&mut schema, "#");
    schema
}

/// Lets every known key be written with `-` for `_`.
fn add_dashes(schema: &mut Value, pointer: &str) {
    let Some(object) = schema.as_object_mut() else {
        return;
    };
    for (name, part) in object.iter_mut() {
        let pointer = format!("{pointer}/{name}");
        match part {
            Value::Object(parts) if matches!(name.as_str(), "$defs" | "properties") => {
                for (name, part) in parts.iter_mut() {
                    add_dashes(part, &format!("{pointer}/{name}"));
                }
            }
            Value::Array(parts) => {
                for (index, part) in parts.iter_mut().enumerate() {
                    add_dashes(part, &format!("{pointer}/{index}"));
                }
            }
            part => add_dashes(part, &pointer),
        }
    }
    if let Some(Value::Object(properties)) = object.get_mut("properties") {
        let dashed: Map<String, Value> = properties
            .keys()
            .filter(|key| key.contains('_'))
            .map(|key| {
                let target = json!({ "$ref": format!("{pointer}/properties/{key}") });
                (key.replace('_', "-"), target)
            })
            .collect();
        properties.extend(dashed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::TEXT_FORMATS;

    #[test]
    fn the_committed_copy_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schema.json");
        if std::env::var_os("RENEW").is_some() {
            std::fs::write(
                path,
                serde_json::to_string_pretty(&schema()).unwrap() + "\n",
            )
            .unwrap();
        }
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        let current = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
        assert!(
            committed == current,
            "config/schema.json is stale; renew it: turnpike config schema > config/schema.json"
        );
    }

    #[test]
    fn every_format_of_a_text_is_known() {
        fn look(schema: &Value) {
            if let Some(format) = schema["format"].as_str()
                && (schema["type"] == "string" || schema["type"].is_array())
                && !format.contains("int")
            {
                assert!(
                    TEXT_FORMATS.iter().any(|(name, _)| *name == format),
                    "{format}"
                );
            }
            match schema {
                Value::Object(parts) => parts.values().for_each(look),
                Value::Array(parts) => parts.iter().for_each(look),
                _ => {}
            }
        }
        look(&of_document());
    }
}
