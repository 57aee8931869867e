//! The directory of credential files, as it stands now and as it was last good.
//!
//! Somebody else watches it: [`CredentialDirectory::scan`] is called whenever it may have changed,
//! and blocks. A file is read only when it is not the file it was; one that did not change costs
//! one `stat`.

mod lock;
mod read;
mod sealed;
#[cfg(test)]
mod tests;
mod write;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use turnpike_api::Keyring;

use crate::file::CredentialFile;

pub use lock::WriteLock;
pub use sealed::{ReadError, open_file, seal_file};
pub use write::{add_file, remove_file, replace_file};

use read::{Contents, Identity, Refusal, Seen};

/// What is asked of the files.
#[derive(Clone, Default)]
pub struct Policy {
    /// Files that group or world can read or write are not used; otherwise they are warned of.
    pub require_private_files: bool,
    /// Opens those that are encrypted.
    pub keyring: Arc<Keyring>,
}

/// The credential files of one directory, not of those below it.
pub struct CredentialDirectory {
    path: PathBuf,
    policy: Policy,
    files: BTreeMap<String, Known>,
}

/// One file.
pub struct Entry {
    /// The file's name, with `.json`.
    pub name: String,
    /// Its last good version: the very same value for as long as the content is the same.
    pub state: Option<Arc<CredentialFile>>,
    /// Why the file as it stands is not used. Holds nothing of its content.
    pub problem: Option<String>,
    /// The file is used, and its owner should look at it.
    pub warning: Option<String>,
    /// When it was last written, in milliseconds since 1970.
    pub modified_ms: u64,
}

/// What a scan found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// Some entry is new, gone, or says something else than before.
    pub changed: bool,
    /// Some file was being written: scan again soon.
    pub unsettled: bool,
    /// Why the directory itself cannot be read. The entries are those of before.
    pub problem: Option<String>,
}

/// What is kept of a file between scans.
struct Known {
    entry: Entry,
    /// The file that was read last; `None` when it is to be read again whatever it is.
    identity: Option<Identity>,
    /// Of the content that `state` was made from.
    digest: Option<blake3::Hash>,
}

impl CredentialDirectory {
    /// Reads nothing yet.
    pub fn new(path: impl Into<PathBuf>, policy: Policy) -> Self {
        Self {
            path: path.into(),
            policy,
            files: BTreeMap::new(),
        }
    }

    /// The files, in order of their names.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.files.values().map(|known| &known.entry)
    }

    /// Looks what there is now. A missing directory has no files.
    pub fn scan(&mut self) -> Scan {
        self.scan_at(SystemTime::now())
    }

    /// `now` is compared with the times of files, so it is the system's.
    fn scan_at(&mut self, now: SystemTime) -> Scan {
        let names = match names(&self.path) {
            Ok(names) => names,
            Err(error) => {
                let path = self.path.display();
                let problem =
                    format!("{path}: the directory cannot be read: {error}; let this user list it");
                return Scan {
                    problem: Some(problem),
                    ..Scan::default()
                };
            }
        };
        let mut scan = Scan::default();
        let mut before = std::mem::take(&mut self.files);
        for file_name in names {
            let name = shown(&file_name);
            let known = before.remove(&name).unwrap_or_else(|| Known::new(&name));
            let path = self.path.join(&file_name);
            if let Some(known) = known.look(&path, &self.policy, now, &mut scan) {
                self.files.insert(name, known);
            }
        }
        scan.changed |= !before.is_empty();
        scan
    }
}

fn names(directory: &Path) -> io::Result<Vec<OsString>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        if is_credential(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

/// Names that begin with a dot are Kubernetes' (`..data`) and editors' own.
fn is_credential(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    let (_, end) = name.split_at(name.len().saturating_sub(".json".len()));
    !name.starts_with(b".") && end.eq_ignore_ascii_case(b".json")
}

/// A name that can stand in a log line.
fn shown(name: &OsStr) -> String {
    name.to_string_lossy().replace(char::is_control, "\u{fffd}")
}

impl Known {
    fn new(name: &str) -> Self {
        Self {
            entry: Entry {
                name: name.to_owned(),
                state: None,
                problem: None,
                warning: None,
                modified_ms: 0,
            },
            identity: None,
            digest: None,
        }
    }

    /// The file as it is after a look at it; `None` when there is nothing to list.
    fn look(
        mut self,
        path: &Path,
        policy: &Policy,
        now: SystemTime,
        scan: &mut Scan,
    ) -> Option<Self> {
        match read::look(path, policy, self.identity.as_ref()) {
            Seen::Same => {}
            Seen::Gone => {
                scan.changed |= self.is_listed();
                return None;
            }
            Seen::Unsettled => {
                self.identity = None;
                scan.unsettled = true;
            }
            Seen::Refused(refusal) => scan.changed |= self.refuse(path, refusal),
            Seen::Read(contents) => scan.changed |= self.take(path, contents, policy, now),
        }
        self.is_listed().then_some(self)
    }

    fn is_listed(&self) -> bool {
        self.entry.state.is_some() || self.entry.problem.is_some()
    }

    /// True when the entry says something else than before.
    fn refuse(&mut self, path: &Path, refusal: Refusal) -> bool {
        self.identity = None;
        if !refusal.keeps {
            self.entry.state = None;
            self.digest = None;
        }
        self.entry.modified_ms = refusal.modified_ms.unwrap_or(self.entry.modified_ms);
        let problem = self.problem(path, &refusal.what);
        self.say(Some(problem), None)
    }

    /// True when the entry says something else than before.
    fn take(&mut self, path: &Path, contents: Contents, policy: &Policy, now: SystemTime) -> bool {
        let digest = blake3::hash(&contents.bytes);
        self.entry.modified_ms = contents.modified_ms;
        let mut replaced = false;
        let mut problem = None;
        if self.digest != Some(digest) {
            match sealed::read(&self.entry.name, &contents.bytes, &policy.keyring) {
                Ok(file) => {
                    self.entry.state = Some(Arc::new(file));
                    self.digest = Some(digest);
                    replaced = true;
                }
                Err(error) => problem = Some(self.problem(path, &error.to_string())),
            }
        }
        self.identity = contents.identity.settled(now);
        self.say(problem, contents.warning) || replaced
    }

    fn problem(&self, path: &Path, what: &str) -> String {
        let path = path.with_file_name(&self.entry.name);
        let kept = match self.entry.state {
            Some(_) => "; the version read before stays in use",
            None => "",
        };
        format!("{}: {what}{kept}", path.display())
    }

    fn say(&mut self, problem: Option<String>, warning: Option<String>) -> bool {
        let differs = self.entry.problem != problem || self.entry.warning != warning;
        self.entry.problem = problem;
        self.entry.warning = warning;
        differs
    }
}
