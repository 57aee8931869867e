//! `turnpike credentials rewrite`: every file of the directory as the configuration says it is to be
//! kept, after encryption was switched on or off, or has another key.

use std::fs;
use std::io;
use std::path::Path;

use thiserror::Error;
use turnpike_api::{Keyring, OpenError, SealError};
use turnpike_config::Plan;
use turnpike_credentials::{FileError, WriteLock, open_file, parse, replace_file, seal_file};
use zeroize::Zeroizing;

use crate::assemble::credential_directory;
use crate::encryption;

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    Encrypted,
    Decrypted,
    /// It was as it should be.
    Kept,
}

impl Done {
    pub fn word(self) -> &'static str {
        match self {
            Self::Encrypted => "encrypted",
            Self::Decrypted => "decrypted",
            Self::Kept => "as it should be",
        }
    }
}

/// Why a file was left as it is.
#[derive(Debug, Error)]
pub enum Left {
    #[error("a link to another file; rewrite that one where it comes from")]
    Link,
    #[error("{0}")]
    Problem(String),
    #[error("{0}")]
    Credential(#[from] FileError),
    #[error("somebody else wrote it just now; run the command again")]
    Changed,
    #[error("{0}")]
    File(#[from] io::Error),
    #[error("{0}")]
    Sealed(#[from] OpenError),
    #[error("{0}")]
    Seal(#[from] SealError),
}

/// Rewrites all of them, and tells of each.
pub fn rewrite(plan: &Plan, mut tell: impl FnMut(&str, Result<Done, Left>)) -> Result<(), String> {
    let dir = &plan.auth.dir;
    // A gateway beside it changes them, too.
    let lock = dir.is_dir().then(|| WriteLock::take(dir)).transpose();
    let _lock = lock.map_err(|error| format!("{}: {error}", dir.display()))?;
    let mut directory = credential_directory(plan);
    let scan = directory.scan();
    if let Some(problem) = scan.problem {
        return Err(problem);
    }
    if scan.unsettled {
        return Err("a file is being written just now; run the command again".into());
    }
    let keyring = encryption::of_files(plan);
    let enabled = plan.auth.encryption.enabled;
    for entry in directory.entries() {
        let done = match &entry.problem {
            Some(problem) => Err(Left::Problem(problem.clone())),
            None => one(&plan.auth.dir, &entry.name, &keyring, enabled),
        };
        tell(&entry.name, done);
    }
    Ok(())
}

fn one(directory: &Path, name: &str, keyring: &Keyring, enabled: bool) -> Result<Done, Left> {
    let path = directory.join(name);
    if fs::symlink_metadata(&path)?.is_symlink() {
        return Err(Left::Link);
    }
    let before = Zeroizing::new(fs::read(&path)?);
    let (json, sealed) = open_file(name, &before, keyring)?;
    // Half of one that is being written is none.
    parse(name, &json)?;
    let (after, done) = match (enabled, sealed) {
        (true, Some(sealed)) if keyring.is_current(sealed) => return Ok(Done::Kept),
        (false, None) => return Ok(Done::Kept),
        (true, _) => {
            let sealed = seal_file(name, &json, keyring)?;
            (Zeroizing::new(sealed), Done::Encrypted)
        }
        (false, Some(_)) => (json, Done::Decrypted),
    };
    // Other tools renew the tokens in these files: theirs is newer than what was read.
    if *Zeroizing::new(fs::read(&path)?) != *before {
        return Err(Left::Changed);
    }
    replace_file(directory, name, &after)?;
    Ok(done)
}
