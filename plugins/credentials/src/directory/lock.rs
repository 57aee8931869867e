//! One writer of a directory at a time, whichever process it is: replicas may share one.
//!
//! Readers need no lock: a file is there whole or not at all.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::Path;

use super::write::make;

/// A name with a dot in front is nobody's credential.
const NAME: &str = ".turnpike.lock";

/// While it is held, nobody else who asks for one writes in the directory. The system lets go of it when
/// it is dropped, and when its process ends in whatever way.
#[derive(Debug)]
pub struct WriteLock(#[expect(dead_code, reason = "held, and never looked at")] Option<File>);

impl WriteLock {
    /// `None` = somebody else has it.
    pub fn try_take(directory: &Path) -> io::Result<Option<Self>> {
        let file = match open(directory) {
            // Nobody writes there.
            Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => {
                return Ok(Some(Self(None)));
            }
            file => file?,
        };
        match file.try_lock() {
            Ok(()) => Ok(Some(Self(Some(file)))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => without(&error).ok_or(error).map(Some),
        }
    }

    /// Waits for whoever has it.
    pub fn take(directory: &Path) -> io::Result<Self> {
        let file = open(directory)?;
        match file.lock() {
            Ok(()) => Ok(Self(Some(file))),
            Err(error) => without(&error).ok_or(error),
        }
    }
}

/// Where the file system has no locks there is nothing to wait for, and edits are compared as ever.
fn without(error: &io::Error) -> Option<WriteLock> {
    (error.kind() == io::ErrorKind::Unsupported).then_some(WriteLock(None))
}

/// A file of its own: over NFS a directory cannot be locked.
fn open(directory: &Path) -> io::Result<File> {
    make(directory)?;
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(directory.join(NAME))?;
    let (owner, of_file) = (fs::metadata(directory)?, file.metadata()?);
    if owner.uid() != of_file.uid() {
        // An administrator's command must not shut the gateway out. Only they can give it away.
        let _ = fchown(&file, Some(owner.uid()), Some(owner.gid()));
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_has_it_until_it_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let auths = dir.path().join("auths");
        let held = WriteLock::try_take(&auths).unwrap();
        assert!(held.is_some());
        assert!(WriteLock::try_take(&auths).unwrap().is_none());
        drop(held);
        assert!(WriteLock::try_take(&auths).unwrap().is_some());
        WriteLock::take(&auths).unwrap();
    }
}
