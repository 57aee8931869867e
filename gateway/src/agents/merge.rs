//! Values into a configuration that somebody else wrote: everything else of it stays, comments and
//! blanks as well. What cannot be done so is not done.

use jsonc_parser::ParseOptions;
use jsonc_parser::cst::{CstInputValue, CstObject, CstRootNode};
use thiserror::Error;
use toml_edit::{DocumentMut, Item, Table, value};

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// With comments, where it has some.
    Json,
    Toml,
    /// `NAME=value`, a line each.
    Variables,
    /// There is nothing to edit it with that keeps the rest as it is: only a new file is written.
    Yaml,
}

/// A value, and where it belongs.
#[derive(Clone, Debug)]
pub struct Value {
    pub path: &'static [&'static str],
    pub text: String,
}

/// Why a text stays as it is.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum MergeError {
    #[error("it cannot be read: {0}")]
    Unreadable(String),
    #[error("`{0}` in it is something else than was expected")]
    Shape(String),
    #[error("it is there already, and a program cannot change YAML without losing comments")]
    Yaml,
}

/// The text, with the values in it.
pub fn merge(format: Format, text: &str, values: &[Value]) -> Result<String, MergeError> {
    match format {
        Format::Json => json(text, values),
        Format::Toml => toml(text, values),
        Format::Variables => Ok(variables(text, values)),
        Format::Yaml => yaml(text, values),
    }
}

fn json(text: &str, values: &[Value]) -> Result<String, MergeError> {
    // Comments and commas at ends, as agents themselves forgive them. No JSON5.
    let options = ParseOptions {
        allow_loose_object_property_names: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        ..ParseOptions::default()
    };
    let text = match text.trim() {
        "" => "{\n}\n",
        _ => text,
    };
    let root = CstRootNode::parse(text, &options);
    let root = root.map_err(|error| MergeError::Unreadable(error.to_string()))?;
    let whole = root.object_value();
    let whole = whole.ok_or_else(|| MergeError::Shape("the whole".into()))?;
    for one in values {
        let (object, key) = within(whole.clone(), one)?;
        let new = CstInputValue::String(one.text.clone());
        match object.get(key) {
            Some(old) => old.set_value(new),
            None => drop(object.append(key, new)),
        }
    }
    Ok(root.to_string())
}

/// The object that a value belongs to, and its key there.
fn within(mut object: CstObject, one: &Value) -> Result<(CstObject, &'static str), MergeError> {
    let (key, above) = one.path.split_last().ok_or_else(|| shape(one))?;
    for name in above {
        let next = object.object_value_or_create(name);
        object = next.ok_or_else(|| shape(one))?;
    }
    Ok((object, key))
}

fn toml(text: &str, values: &[Value]) -> Result<String, MergeError> {
    let document: Result<DocumentMut, _> = text.parse();
    // Its own text shows the line, and what stands there may be a secret.
    let mut document = document.map_err(|error: toml_edit::TomlError| {
        MergeError::Unreadable(error.message().to_owned())
    })?;
    for one in values {
        let (key, above) = one.path.split_last().ok_or_else(|| shape(one))?;
        let mut table = document.as_table_mut() as &mut dyn toml_edit::TableLike;
        for name in above {
            let next = table.entry(name).or_insert_with(|| {
                let mut table = Table::new();
                table.set_implicit(true);
                Item::Table(table)
            });
            table = next.as_table_like_mut().ok_or_else(|| shape(one))?;
        }
        match table.get_mut(key) {
            Some(Item::Value(old)) => {
                let mut new = toml_edit::Value::from(one.text.as_str());
                *new.decor_mut() = old.decor().clone();
                *old = new;
            }
            Some(Item::None) | None => drop(table.insert(key, value(&one.text))),
            Some(_) => return Err(shape(one)),
        }
    }
    Ok(document.to_string())
}

fn variables(text: &str, values: &[Value]) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for one in values {
        let name = one.path.join("_");
        let is_it = |line: &str| {
            let line = line.trim_start();
            let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
            let rest = line.strip_prefix(&*name);
            rest.is_some_and(|rest| rest.trim_start().starts_with('='))
        };
        let new = format!("{name}={}", one.text);
        // Of two, different readers take different ones.
        let first = lines.iter().position(|line| is_it(line));
        lines.retain(|line| !is_it(line));
        lines.insert(first.unwrap_or(lines.len()).min(lines.len()), new);
    }
    lines.push(String::new());
    lines.join(if text.contains("\r\n") { "\r\n" } else { "\n" })
}

fn yaml(text: &str, values: &[Value]) -> Result<String, MergeError> {
    if !text.trim().is_empty() {
        return Err(MergeError::Yaml);
    }
    let lines = values.iter();
    Ok(lines
        .map(|one| format!("{}: \"{}\"\n", one.path.join("."), one.text))
        .collect())
}

fn shape(one: &Value) -> MergeError {
    MergeError::Shape(one.path.join("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(of: &[(&'static [&'static str], &str)]) -> Vec<Value> {
        let values = of.iter();
        values
            .map(|(path, text)| Value {
                path,
                text: (*text).to_owned(),
            })
            .collect()
    }

    #[test]
    fn json_keeps_what_it_held() {
        let new = values(&[(&["env", "URL"], "u"), (&["env", "TOKEN"], "t")]);
        let text = "{\n    // mine\n    \"model\": \"opus\",\n    \"env\": {\"TOKEN\": \"old\", \"X\": \"1\"},\n}\n";
        let merged = merge(Format::Json, text, &new).unwrap();
        assert!(
            merged.contains("// mine\n    \"model\": \"opus\""),
            "{merged}"
        );
        assert!(merged.contains("\"X\": \"1\"") && merged.contains("\"URL\": \"u\""));
        assert!(merged.contains("\"TOKEN\": \"t\"") && !merged.contains("old"));
        assert_eq!(merge(Format::Json, &merged, &new).unwrap(), merged);
        for broken in [
            "{",
            "[]",
            "\"x\"",
            "{\"env\": []}",
            "{\"env\": null}",
            "{a: 1}",
        ] {
            assert!(merge(Format::Json, broken, &new).is_err(), "{broken}");
        }
        let error = merge(Format::Json, "{\"a\": \"tp-secret", &new).unwrap_err();
        assert!(!error.to_string().contains("tp-secret"), "{error}");
    }

    #[test]
    fn toml_keeps_what_it_held() {
        let new = values(&[
            (&["model_provider"], "turnpike"),
            (&["model_providers", "turnpike", "base_url"], "u"),
        ]);
        let text = "# mine\nmodel = \"gpt\"\nmodel_provider = \"openai\" # here\n\n[model_providers.other]\nname = \"x\"\n\n[tui]\nvim = true\n";
        let merged = merge(Format::Toml, text, &new).unwrap();
        for kept in [
            "# mine\nmodel = \"gpt\"\n",
            "model_provider = \"turnpike\" # here\n",
            "[model_providers.other]\nname = \"x\"\n",
            "[model_providers.turnpike]\nbase_url = \"u\"\n",
            "[tui]\nvim = true\n",
        ] {
            assert!(merged.contains(kept), "{kept}: {merged}");
        }
        assert_eq!(merge(Format::Toml, &merged, &new).unwrap(), merged);
        for broken in ["a = ", "model_providers = 1", "[model_provider]\n"] {
            assert!(merge(Format::Toml, broken, &new).is_err(), "{broken}");
        }
        let secret = "token = \"tp-secret";
        let error = merge(Format::Toml, secret, &new).unwrap_err();
        assert!(!error.to_string().contains("tp-secret"), "{error}");
    }

    #[test]
    fn variables_keep_the_other_lines() {
        let new = values(&[(&["TOKEN"], "t"), (&["URL"], "u")]);
        let text = "# mine\nexport TOKEN='old'\nTOKENS=1\nTOKEN = older";
        let merged = merge(Format::Variables, text, &new).unwrap();
        assert_eq!(merged, "# mine\nTOKEN=t\nTOKENS=1\nURL=u\n");
        assert_eq!(merge(Format::Variables, &merged, &new).unwrap(), merged);
        assert_eq!(
            merge(Format::Variables, "", &new).unwrap(),
            "TOKEN=t\nURL=u\n"
        );
    }

    #[test]
    fn yaml_is_only_written_anew() {
        let new = values(&[(&["openai-api-key"], "t")]);
        let made = merge(Format::Yaml, "", &new).unwrap();
        assert_eq!(made, "openai-api-key: \"t\"\n");
        assert_eq!(merge(Format::Yaml, &made, &new), Err(MergeError::Yaml));
    }
}
