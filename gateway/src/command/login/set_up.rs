//! An agent's own files, changed so that it uses the gateway.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use thiserror::Error;
use turnpike_api::Secret;
use turnpike_config::Environment;

use super::kept::{make_private, write_private};
use crate::agents::merge::{self, MergeError};
use crate::agents::{Agent, Edit, FileOf};

/// Why an agent is not set up.
#[derive(Debug, Error)]
pub enum SetUpError {
    #[error("HOME is not set, so it is not known where the agent's files are")]
    NoHome,
    #[error("cannot read or write {}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{} stays as it is: {why}; without --write, what to put there is printed", path.display())]
    Merge { path: PathBuf, why: MergeError },
}

/// The files of an agent that are to be written.
pub(super) struct SetUp {
    url: String,
    files: Vec<(Agent, usize, PathBuf)>,
}

impl SetUp {
    pub(super) fn nothing() -> Self {
        Self {
            url: String::new(),
            files: Vec::new(),
        }
    }

    /// Looks whether each of them can be changed.
    pub(super) fn plan(
        agent: Agent,
        environment: &Environment,
        url: &str,
    ) -> Result<Self, SetUpError> {
        let mut files = Vec::new();
        for (nth, part) in agent.parts(url, "tp-none").iter().enumerate() {
            if let Some(edit) = &part.edit {
                let path = place(&edit.file, environment)?;
                merged(&path, edit)?;
                files.push((agent, nth, path));
            }
        }
        Ok(Self {
            url: url.to_owned(),
            files,
        })
    }

    /// Writes them: all can be written, or none is.
    pub(super) fn write(&self, token: &Secret) -> Result<Vec<PathBuf>, SetUpError> {
        let mut texts = Vec::new();
        for (agent, nth, path) in &self.files {
            let parts = agent.parts(&self.url, token.expose());
            if let Some(edit) = parts.get(*nth).and_then(|part| part.edit.as_ref()) {
                texts.push((path, merged(path, edit)?));
            }
        }
        for (path, text) in &texts {
            let failed = |source| SetUpError::File {
                path: (*path).clone(),
                source,
            };
            make_private(path.parent().unwrap_or(Path::new("."))).map_err(failed)?;
            write_private(path, text.as_bytes(), mode(path)).map_err(failed)?;
        }
        Ok(self.files.iter().map(|(_, _, path)| path.clone()).collect())
    }
}

/// What the file is to hold.
fn merged(path: &Path, edit: &Edit) -> Result<String, SetUpError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(source) => {
            return Err(SetUpError::File {
                path: path.to_owned(),
                source,
            });
        }
    };
    merge::merge(edit.format, &text, &edit.values).map_err(|why| SetUpError::Merge {
        path: path.to_owned(),
        why,
    })
}

/// Where it is. A link to it is followed: people keep such files elsewhere, and link to them.
fn place(file: &FileOf, environment: &Environment) -> Result<PathBuf, SetUpError> {
    let absolute = |name| {
        environment
            .get(name)
            .map(Path::new)
            .filter(|path| path.is_absolute())
    };
    let folder = match file.variable.and_then(absolute) {
        Some(said) => said.join(file.below),
        None => absolute("HOME").ok_or(SetUpError::NoHome)?.join(file.home),
    };
    let path = folder.join(file.name);
    Ok(path.canonicalize().unwrap_or(path))
}

/// It holds a token now: nobody but its owner reads it.
fn mode(path: &Path) -> u32 {
    let found = fs::metadata(path).map(|found| found.permissions().mode());
    found.map_or(0o600, |mode| mode & 0o700)
}
