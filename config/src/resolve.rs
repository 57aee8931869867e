//! References of secret values: `${NAME}` of the environment, `file:path`.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::environment::Environment;

/// Why a secret has no value. Says where it was looked for, never what was found.
#[derive(Debug, Error)]
pub(crate) enum Unresolved {
    #[error("the environment variable `{0}` is not set; export it, or write the value here")]
    NoVariable(String),
    #[error("the environment variable `{0}` is empty")]
    EmptyVariable(String),
    #[error(
        "`${{…}}` must be the whole value and name an environment variable, as in `${{API_KEY}}`"
    )]
    NotWhole,
    #[error("cannot read the file {}: {}", path.display(), reason(error))]
    Unreadable { path: PathBuf, error: io::Error },
    #[error("the file {} is empty", .0.display())]
    EmptyFile(PathBuf),
    #[error("`file:` must be followed by a path")]
    NoPath,
    #[error("empty; write a value, `${{NAME}}` or `file:path`, or leave the key out")]
    Empty,
}

/// The system's words without its error number.
pub(crate) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error")
        .next()
        .unwrap_or_default()
        .to_lowercase()
}

/// Looks references up, and remembers the files it read.
pub(crate) struct Resolver<'a> {
    pub(crate) base_dir: &'a Path,
    pub(crate) environment: &'a Environment,
    pub(crate) sources: Vec<PathBuf>,
}

impl Resolver<'_> {
    pub(crate) fn resolve(&mut self, written: &str) -> Result<String, Unresolved> {
        if written.is_empty() {
            Err(Unresolved::Empty)
        } else if let Some(path) = written.strip_prefix("file:") {
            self.file(path)
        } else if let Some(name) = variable(written) {
            self.variable(name)
        } else if written.contains("${") {
            Err(Unresolved::NotWhole)
        } else {
            Ok(written.to_owned())
        }
    }

    fn variable(&self, name: &str) -> Result<String, Unresolved> {
        match self.environment.get(name) {
            None => Err(Unresolved::NoVariable(name.to_owned())),
            Some("") => Err(Unresolved::EmptyVariable(name.to_owned())),
            Some(value) => Ok(value.to_owned()),
        }
    }

    fn file(&mut self, path: &str) -> Result<String, Unresolved> {
        if path.is_empty() {
            return Err(Unresolved::NoPath);
        }
        let path = self.base_dir.join(path);
        self.sources.push(path.clone());
        let read = std::fs::read(&path).and_then(text);
        let text = read.map_err(|error| Unresolved::Unreadable {
            path: path.clone(),
            error,
        })?;
        match text.trim_end_matches(['\n', '\r']) {
            "" => Err(Unresolved::EmptyFile(path)),
            value => Ok(value.to_owned()),
        }
    }
}

/// Keys of 32 bytes are also kept in files of just these bytes, which are seldom text: such a file
/// reads as their hexadecimal digits.
fn text(bytes: Vec<u8>) -> io::Result<String> {
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text),
        Err(error) if error.as_bytes().len() == 32 => {
            let digits = error.as_bytes().iter().map(|byte| format!("{byte:02x}"));
            Ok(digits.collect())
        }
        Err(_) => Err(io::Error::new(io::ErrorKind::InvalidData, "is not text")),
    }
}

/// The `NAME` of a text that is `${NAME}`.
pub(crate) fn variable(text: &str) -> Option<&str> {
    let name = text.strip_prefix("${")?.strip_suffix('}')?;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (name.chars().all(plain) && name.starts_with(|c: char| !c.is_ascii_digit())).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(dir: &Path, written: &str) -> Result<String, String> {
        let environment = Environment::from_pairs([("KEY", "value"), ("NONE", "")]);
        let mut resolver = Resolver {
            base_dir: dir,
            environment: &environment,
            sources: vec![],
        };
        resolver.resolve(written).map_err(|error| error.to_string())
    }

    #[test]
    fn references_are_looked_up() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("key"), "from file\r\n").unwrap();
        let absolute = format!("file:{}", dir.path().join("key").display());
        assert_eq!(resolve(dir.path(), "${KEY}").unwrap(), "value");
        assert_eq!(resolve(dir.path(), "file:key").unwrap(), "from file");
        assert_eq!(resolve(dir.path(), &absolute).unwrap(), "from file");
        assert_eq!(resolve(dir.path(), "plain$value").unwrap(), "plain$value");
    }

    #[test]
    fn a_key_may_be_a_file_of_its_bytes() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("key"), [0xfe; 32]).unwrap();
        std::fs::write(dir.path().join("binary"), [0xfe; 33]).unwrap();
        assert_eq!(resolve(dir.path(), "file:key").unwrap(), "fe".repeat(32));
        let error = resolve(dir.path(), "file:binary").unwrap_err();
        assert!(error.contains("binary: is not text"), "{error}");
    }

    #[test]
    fn a_missing_one_says_where_it_was_looked_for() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("empty"), "\n").unwrap();
        for (written, expected) in [
            ("${ABSENT}", "`ABSENT` is not set"),
            ("${NONE}", "`NONE` is empty"),
            ("a${KEY}", "the whole value"),
            ("${not a name}", "the whole value"),
            ("${}", "the whole value"),
            ("file:absent", "absent: no such file or directory"),
            ("file:empty", "is empty"),
            ("file:", "a path"),
            ("", "empty"),
        ] {
            let error = resolve(dir.path(), written).unwrap_err();
            assert!(error.contains(expected), "{written}: {error}");
        }
    }
}
