//! A JSON object whose values are read one by one, so that an error names the key and quotes
//! nothing. What deserializers say quotes the value they did not expect.

use serde_json::{Map, Value};
use turnpike_api::Secret;
use zeroize::Zeroize;

use super::FileError;
use super::rules;

/// The file as parsed. Its texts are overwritten when it is dropped.
pub(crate) struct Document(Map<String, Value>);

impl Document {
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, FileError> {
        let text = std::str::from_utf8(bytes).map_err(|error| FileError::NotText {
            line: 1 + count_lines(&bytes[..error.valid_up_to()]),
        })?;
        // Editors of one operating system write it.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if text.trim().is_empty() {
            return Err(FileError::Empty);
        }
        match serde_json::from_str(text).map_err(syntax)? {
            Value::Object(object) => Ok(Self(object)),
            mut other => {
                wipe(&mut other);
                Err(FileError::NotAnObject)
            }
        }
    }

    /// To be changed.
    pub(super) fn top(&mut self) -> &mut Map<String, Value> {
        &mut self.0
    }

    pub(crate) fn fields(&self) -> Fields<'_> {
        Fields {
            object: Some(&self.0),
            within: String::new(),
        }
    }
}

impl Drop for Document {
    fn drop(&mut self) {
        self.0.values_mut().for_each(wipe);
    }
}

fn count_lines(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte == b'\n').count()
}

/// The parser's texts about syntax are fixed ones; only those about data would quote.
fn syntax(error: serde_json::Error) -> FileError {
    let what = match error.is_syntax() || error.is_eof() {
        true => error.to_string(),
        false => format!("at line {} column {}", error.line(), error.column()),
    };
    FileError::Syntax { what }
}

fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(values) => values.iter_mut().for_each(wipe),
        Value::Object(object) => object.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// An object of the document, or one that is not there and so has no keys.
///
/// `null` and the empty text count as absent: that is how other tools write "none". A key may be
/// written with `-` for `_`.
#[derive(Default)]
pub(crate) struct Fields<'a> {
    object: Option<&'a Map<String, Value>>,
    /// The key it stands at and a dot; empty for the whole document.
    within: String,
}

impl<'a> Fields<'a> {
    pub(crate) fn path(&self, key: &str) -> String {
        format!("{}{key}", self.within)
    }

    pub(crate) fn wrong(&self, key: &str, what: &'static str) -> FileError {
        FileError::at(self.path(key), what)
    }

    pub(crate) fn value(&self, key: &str) -> Option<&'a Value> {
        let object = self.object?;
        object
            .get(key)
            .or_else(|| object.get(&key.replace('_', "-")))
            .filter(|value| !value.is_null())
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.object
            .into_iter()
            .flat_map(|object| object.keys().map(String::as_str))
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.value(key)
            .is_some_and(|value| value.as_str() != Some(""))
    }

    /// The object at a key that may also hold something else.
    pub(crate) fn object_if(&self, key: &str) -> Option<Fields<'a>> {
        self.value(key)?.as_object().map(|object| Fields {
            object: Some(object),
            within: format!("{}{key}.", self.within),
        })
    }

    pub(crate) fn object(&self, key: &str) -> Result<Option<Fields<'a>>, FileError> {
        match (self.object_if(key), self.has(key)) {
            (None, true) => Err(self.wrong(key, "expected an object, `{…}`")),
            (found, _) => Ok(found),
        }
    }

    pub(crate) fn list(&self, key: &str) -> Result<&'a [Value], FileError> {
        match self.value(key) {
            None => Ok(&[]),
            Some(Value::Array(values)) => Ok(values),
            Some(_) => Err(self.wrong(key, "expected a list, `[…]`")),
        }
    }

    pub(crate) fn text(&self, key: &str) -> Result<Option<&'a str>, FileError> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
            Some(_) => Err(self.wrong(key, "expected a text")),
        }
    }

    /// A text that `fits`.
    pub(crate) fn checked(
        &self,
        key: &str,
        fits: fn(&str) -> Result<(), &'static str>,
    ) -> Result<Option<String>, FileError> {
        let Some(text) = self.text(key)? else {
            return Ok(None);
        };
        fits(text).map_err(|what| self.wrong(key, what))?;
        Ok(Some(text.to_owned()))
    }

    /// A secret, which must not be empty when its key is there.
    pub(crate) fn secret(&self, key: &str) -> Result<Option<Secret>, FileError> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::String(text)) => {
                rules::secret(text).map_err(|what| self.wrong(key, what))?;
                Ok(Some(Secret::new(text.as_str())))
            }
            Some(_) => Err(self.wrong(key, "expected a text")),
        }
    }

    /// `true` or `false`, also as a text.
    pub(crate) fn flag(&self, key: &str) -> Result<Option<bool>, FileError> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text)) if text.eq_ignore_ascii_case("true") => Ok(Some(true)),
            Some(Value::String(text)) if text.eq_ignore_ascii_case("false") => Ok(Some(false)),
            Some(_) => Err(self.wrong(key, "expected true or false")),
        }
    }

    /// A whole number, also as a text of digits.
    pub(crate) fn whole(&self, key: &str) -> Result<Option<i64>, FileError> {
        let number = match self.value(key) {
            None => return Ok(None),
            Some(Value::String(text)) if text.is_empty() => return Ok(None),
            Some(Value::String(text)) => text.trim().parse().ok(),
            Some(value) => value.as_i64(),
        };
        number
            .map(Some)
            .ok_or_else(|| self.wrong(key, "expected a whole number"))
    }

    /// A whole number that is not negative.
    pub(crate) fn count(&self, key: &str) -> Result<Option<u64>, FileError> {
        self.whole(key)?
            .map(u64::try_from)
            .transpose()
            .map_err(|_| self.wrong(key, "expected a number that is not negative"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_text_is_overwritten() {
        let mut value = json!({"a": "CANARY", "b": ["CANARY", {"c": "CANARY"}], "d": 1});
        wipe(&mut value);
        assert_eq!(value, json!({"a": "", "b": ["", {"c": ""}], "d": 1}));
    }
}
