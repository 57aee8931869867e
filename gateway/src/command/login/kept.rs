//! The tokens that were got by logging in, by gateway and agent: a file for its owner's eyes.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use thiserror::Error;
use turnpike_config::Environment;

use super::client::Given;
use crate::upstream::roll::time;

/// Why a token cannot be kept.
#[derive(Debug, Error)]
pub enum KeptError {
    #[error("neither XDG_CONFIG_HOME nor HOME is set, so there is no place to keep a token")]
    NoHome,
    #[error("cannot read or write {}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{} is not as `turnpike login` wrote it: mend it, or move it away", .0.display())]
    Unreadable(PathBuf),
}

/// By gateway, and by agent.
type Tokens = BTreeMap<String, BTreeMap<String, Value>>;

/// The file.
pub(super) struct Kept(PathBuf);

impl Kept {
    /// Where it is, as far as it can be read.
    pub(super) fn open(environment: &Environment) -> Result<Self, KeptError> {
        let folder = config_home(environment).ok_or(KeptError::NoHome)?;
        let kept = Self(folder.join("turnpike/credentials.json"));
        kept.read()?;
        Ok(kept)
    }

    /// Puts a token in the place of the one that the same agent had at the same gateway.
    pub(super) fn keep(
        &self,
        url: &str,
        agent: &str,
        given: &Given,
        now: u64,
    ) -> Result<PathBuf, KeptError> {
        let failed = |source| KeptError::File {
            path: self.0.clone(),
            source,
        };
        let folder = self.0.parent().unwrap_or(Path::new("."));
        make_private(folder).map_err(failed)?;
        // Who logs in beside us waits, so that neither token is lost.
        let lock = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(false)
            .mode(0o600)
            .open(folder.join("credentials.lock"));
        lock.and_then(|lock| lock.lock().map(|()| lock))
            .map_err(failed)
            .and_then(|_lock| {
                let mut tokens = self.read()?;
                let entry = json!({
                    "token": given.token.expose(),
                    "token_id": given.id,
                    "token_name": given.name,
                    "person": given.person,
                    "made_at": time(now),
                });
                let of_gateway = tokens.entry(url.to_owned()).or_default();
                of_gateway.insert(agent.to_owned(), entry);
                let mut text =
                    serde_json::to_vec_pretty(&tokens).map_err(|error| failed(error.into()))?;
                text.push(b'\n');
                write_private(&self.0, &text, 0o600).map_err(failed)
            })?;
        Ok(self.0.clone())
    }

    fn read(&self) -> Result<Tokens, KeptError> {
        match fs::read(&self.0) {
            Ok(text) => {
                let tokens = serde_json::from_slice(&text);
                tokens.map_err(|_| KeptError::Unreadable(self.0.clone()))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Tokens::new()),
            Err(source) => Err(KeptError::File {
                path: self.0.clone(),
                source,
            }),
        }
    }
}

/// Where programs keep their configuration (XDG); a path that is not absolute counts for nothing.
fn config_home(environment: &Environment) -> Option<PathBuf> {
    let absolute = |name| {
        environment
            .get(name)
            .map(Path::new)
            .filter(|path| path.is_absolute())
    };
    let said = absolute("XDG_CONFIG_HOME").map(Path::to_owned);
    said.or_else(|| Some(absolute("HOME")?.join(".config")))
}

/// Makes a folder, and those above it, where there is none.
pub(super) fn make_private(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Puts a file in place of what is there, whole or not at all.
pub(super) fn write_private(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{:016x}.new", fastrand::u64(..)));
    let draft = PathBuf::from(name);
    let written = write(&draft, bytes, mode).and_then(|()| fs::rename(&draft, path));
    if written.is_err() {
        // Nobody is to find half of it.
        let _ = fs::remove_file(&draft);
    }
    written?;
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(bytes)?;
    file.sync_all()
}
