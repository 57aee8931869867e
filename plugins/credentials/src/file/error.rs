use thiserror::Error;

/// Why a credential file cannot be used.
///
/// Says which key is wrong and what was expected, and never what stands there: that may be a
/// secret.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum FileError {
    #[error("the file is empty")]
    Empty,
    #[error("the file is not text in UTF-8 (line {line})")]
    NotText { line: usize },
    /// `what` is the parser's own fixed text, with line and column.
    #[error("not valid JSON: {what}")]
    Syntax { what: String },
    #[error("expected a JSON object, `{{…}}`")]
    NotAnObject,
    #[error("`{key}`: {what}")]
    Key { key: String, what: &'static str },
    #[error(
        "holds no credential: expected `token`, `api_key` or `access_token`, or a service account"
    )]
    NoSecret,
}

impl FileError {
    pub(crate) fn at(key: impl Into<String>, what: &'static str) -> Self {
        Self::Key {
            key: key.into(),
            what,
        }
    }
}
