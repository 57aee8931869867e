//! Changing a credential file: what is not named stays as it is, also what other tools keep in it.

use serde_json::{Map, Value, json};
use turnpike_api::Secret;
use zeroize::Zeroizing;

use super::document::Document;
use super::material::KEYS;
use super::{FileError, Material, parse};

/// What becomes of a file. `None` = it stays as it is.
#[derive(Default)]
pub struct Edit {
    /// Another key, of a file that holds one.
    pub key: Option<Secret>,
    pub label: Option<String>,
    pub priority: Option<i64>,
    pub weight: Option<u32>,
    pub disabled: Option<bool>,
    /// Tokens of one period; within, `None` = no limit.
    pub limit: Option<Option<u64>>,
    /// What was used of the period that runs before this gateway counted. A file says so of the period
    /// that it was written in, and it is written now. `None` = what the file says stays.
    pub used: Option<u64>,
}

/// The JSON of the file `stem`, changed. It is one that [`parse`] takes.
pub fn edit(stem: &str, json: &[u8], edit: &Edit) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let before = parse(stem, json)?;
    let mut document = Document::read(json)?;
    let top = document.top();
    if let Some(key) = &edit.key {
        let place = KEYS.iter().find(|key| is_there(top, key));
        match (before.material, place) {
            (Material::Key(_), Some(place)) => set(top, place, json!(key.expose())),
            _ => return Err(FileError::at("token", "the file holds no key to replace")),
        }
    }
    let label = edit.label.as_ref().map(|label| json!(label));
    let changes = [
        ("label", label),
        ("priority", edit.priority.map(|priority| json!(priority))),
        ("weight", edit.weight.map(|weight| json!(weight))),
        ("disabled", edit.disabled.map(|disabled| json!(disabled))),
    ];
    for (key, value) in changes {
        if let Some(value) = value {
            set(top, key, value);
        }
    }
    if before.quota.is_some() || edit.limit.is_some() {
        let limit = before.quota.and_then(|quota| quota.limit);
        let quota = top.entry("quota").or_insert_with(|| json!({}));
        if !quota.is_object() {
            *quota = json!({});
        }
        if let Some(quota) = quota.as_object_mut() {
            // It is what is missing of the limit that was.
            quota.remove("remaining");
            set(quota, "limit", json!(edit.limit.unwrap_or(limit)));
            let said = before.quota.map_or(0, |quota| quota.used);
            set(quota, "used", json!(edit.used.unwrap_or(said)));
        }
    }
    let written = Zeroizing::new(serde_json::to_vec(top).unwrap_or_default());
    parse(stem, &written)?;
    Ok(written)
}

fn is_there(object: &Map<String, Value>, key: &str) -> bool {
    let value = object
        .get(key)
        .or_else(|| object.get(&key.replace('_', "-")));
    value.is_some_and(|value| !value.is_null() && value.as_str() != Some(""))
}

/// Under the name by which the file has it.
fn set(object: &mut Map<String, Value>, key: &str, value: Value) {
    let other = key.replace('_', "-");
    let name = match object.contains_key(key) || !object.contains_key(&other) {
        true => key.to_owned(),
        false => other,
    };
    object.insert(name, value);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(file: &Value, change: &Edit) -> Result<Value, FileError> {
        let json = serde_json::to_vec(file).unwrap();
        edit("openai", &json, change).map(|written| serde_json::from_slice(&written).unwrap())
    }

    #[test]
    fn what_is_not_named_stays() {
        let file = json!({
            "api-key": "sk-1", "priority": 3, "another_tools": {"a": 1},
            "quota": {"limit": 100, "remaining": 40, "theirs": true},
        });
        let change = Edit {
            key: Some(Secret::new("sk-2")),
            weight: Some(7),
            ..Edit::default()
        };
        assert_eq!(
            edited(&file, &change).unwrap(),
            json!({
                "api-key": "sk-2", "priority": 3, "another_tools": {"a": 1}, "weight": 7,
                "quota": {"limit": 100, "used": 60, "theirs": true},
            })
        );
    }

    #[test]
    fn a_limit_is_set_and_taken_away() {
        let set = |limit| Edit {
            limit: Some(limit),
            ..Edit::default()
        };
        let file = json!({"token": "sk-1"});
        let limited = edited(&file, &set(Some(5))).unwrap();
        assert_eq!(limited["quota"], json!({"limit": 5, "used": 0}));
        let free = edited(&limited, &set(None)).unwrap();
        assert_eq!(free["quota"]["limit"], Value::Null);
    }

    #[test]
    fn what_would_be_no_good_file_is_refused() {
        let weight = Edit {
            weight: Some(0),
            ..Edit::default()
        };
        assert!(edited(&json!({"token": "sk-1"}), &weight).is_err());
        let key = Edit {
            key: Some(Secret::new("sk-2")),
            ..Edit::default()
        };
        let account = json!({"access_token": "at", "refresh_token": "rt"});
        assert!(edited(&account, &key).is_err());
    }
}
