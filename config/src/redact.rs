//! The effective configuration without its secrets, for people and for bug reports.

use std::path::Path;

use crate::environment::Environment;
use crate::problem::{Problem, Problems};
use crate::{Kinds, Loading, read};

/// The configuration in force as YAML: the file, the environment over it, the defaults filled in,
/// and of every secret at most the last four characters.
pub fn print_redacted(
    path: &Path,
    environment: &Environment,
    kinds: &Kinds<'_>,
) -> Result<String, Problems> {
    let text = read(path)?;
    let (document, _) = Loading::of_file(path, environment, kinds).run(&text)?;
    serde_yaml::to_string(&document).map_err(|error| {
        Problems(vec![Problem {
            source: path.display().to_string(),
            path: String::new(),
            line: None,
            message: format!("cannot be written as YAML: {error}"),
        }])
    })
}
