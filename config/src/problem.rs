//! What is wrong with a configuration, all of it at once.

use std::fmt;

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, or the environment variable, that holds it.
    pub source: String,
    /// The key as written, `providers.openai.credentials[0].api_key`; empty for the whole file.
    pub path: String,
    /// Counted from 1; `None` when the mistake is not in a file.
    pub line: Option<usize>,
    /// What is wrong and what to do about it. Never holds a secret.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        // A variable that sets a whole key says its path already.
        if !self.path.is_empty() && self.path != self.source {
            write!(f, ": {}", self.path)?;
        }
        write!(f, ": {}", self.message)
    }
}

/// Every mistake found, in the order of the file; those of files that it names follow, and those of
/// the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    pub(crate) fn sorted(mut found: Vec<Problem>, file: &str) -> Self {
        found.sort_by_key(|problem| {
            let elsewhere = problem.source != file;
            (problem.line.is_none(), elsewhere, problem.line)
        });
        found.dedup();
        Self(found)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
