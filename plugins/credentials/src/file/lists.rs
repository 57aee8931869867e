//! `headers`, `excluded_models` and `model_aliases`.

use serde_json::Value;

use super::document::Fields;
use super::{FileError, ModelAlias, rules};

/// More than anyone writes by hand.
const MOST: usize = 1000;

/// The key of a list's item.
fn item(key: &str, index: usize) -> String {
    format!("{key}[{index}]")
}

pub(super) fn headers(top: &Fields<'_>) -> Result<Vec<(String, String)>, FileError> {
    let Some(written) = top.object("headers")? else {
        return Ok(Vec::new());
    };
    let mut headers: Vec<(String, String)> = Vec::new();
    for key in written.keys() {
        let name = key.to_ascii_lowercase();
        // The name is repeated only when it is one.
        rules::header_name(&name).map_err(|what| top.wrong("headers", what))?;
        let Some(value) = written.text(key)? else {
            continue;
        };
        rules::header_value(value).map_err(|what| written.wrong(key, what))?;
        if headers.iter().any(|(other, _)| *other == name) {
            let what = "written twice; the case of a header's name does not matter";
            return Err(written.wrong(key, what));
        }
        headers.push((name, value.to_owned()));
    }
    match headers.len() <= MOST {
        true => Ok(headers),
        false => Err(top.wrong("headers", "expected at most 1,000")),
    }
}

pub(super) fn excluded_models(top: &Fields<'_>) -> Result<Vec<String>, FileError> {
    let key = "excluded_models";
    let written = bounded(top, key)?;
    let mut models = Vec::with_capacity(written.len());
    for (index, value) in written.iter().enumerate() {
        let model = value.as_str().ok_or("expected a text");
        let model = model.and_then(|model| rules::model(model).map(|()| model));
        models.push(model.map_err(|what| FileError::at(item(key, index), what))?);
    }
    Ok(models.into_iter().map(str::to_owned).collect())
}

/// A list of `{name, alias}`, or an object with the aliases for keys.
pub(super) fn model_aliases(top: &Fields<'_>) -> Result<Vec<ModelAlias>, FileError> {
    let key = "model_aliases";
    let aliases = match top.object_if(key) {
        Some(by_alias) => from_object(top, key, &by_alias)?,
        None => from_list(top, key)?,
    };
    for (index, one) in aliases.iter().enumerate() {
        let other = |twin: &ModelAlias| twin.alias == one.alias && twin.name != one.name;
        if aliases[..index].iter().any(other) {
            let what = "the same alias as one before it, for another model";
            return Err(FileError::at(item(key, index), what));
        }
    }
    Ok(aliases)
}

fn from_object(
    top: &Fields<'_>,
    key: &str,
    by_alias: &Fields<'_>,
) -> Result<Vec<ModelAlias>, FileError> {
    if by_alias.keys().count() > MOST {
        return Err(top.wrong(key, "expected at most 1,000"));
    }
    let mut aliases = Vec::new();
    for alias in by_alias.keys() {
        let name = by_alias.value(alias).and_then(Value::as_str);
        let checked = name
            .ok_or("expected the name of a model for each alias")
            .and_then(|name| rules::model(name).and(rules::model(alias)).map(|()| name));
        aliases.push(ModelAlias {
            name: checked.map_err(|what| top.wrong(key, what))?.to_owned(),
            alias: alias.to_owned(),
        });
    }
    Ok(aliases)
}

fn from_list(top: &Fields<'_>, key: &str) -> Result<Vec<ModelAlias>, FileError> {
    let mut aliases = Vec::new();
    for (index, value) in bounded(top, key)?.iter().enumerate() {
        let part = |name: &str| {
            value
                .get(name)
                .and_then(Value::as_str)
                .filter(|text| rules::model(text).is_ok())
                .map(str::to_owned)
        };
        let (Some(name), Some(alias)) = (part("name"), part("alias")) else {
            let what = "expected {\"name\": …, \"alias\": …}, both of them names of models";
            return Err(FileError::at(item(key, index), what));
        };
        aliases.push(ModelAlias { name, alias });
    }
    Ok(aliases)
}

fn bounded<'a>(top: &Fields<'a>, key: &str) -> Result<&'a [Value], FileError> {
    let values = top.list(key)?;
    match values.len() <= MOST {
        true => Ok(values),
        false => Err(top.wrong(key, "expected at most 1,000")),
    }
}
