//! One writer of a directory at a time, whichever process it is: replicas may share one.
//!
//! Readers need no lock: a file is there whole or not at all.

use std::fs::{self, File, Metadata, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;

use rustix::fs::OFlags;

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
        let Some(file) = writable(open(directory))? else {
            return Ok(Some(Self(None)));
        };
        match file.try_lock() {
            Ok(()) => Ok(Some(Self(Some(file)))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => without(&error).ok_or(error).map(Some),
        }
    }

    /// Waits for whoever has it.
    pub fn take(directory: &Path) -> io::Result<Self> {
        let Some(file) = writable(open(directory))? else {
            return Ok(Self(None));
        };
        match file.lock() {
            Ok(()) => Ok(Self(Some(file))),
            Err(error) => without(&error).ok_or(error),
        }
    }
}

/// `None` = nobody writes there, on a file system that is only read.
fn writable(file: io::Result<File>) -> io::Result<Option<File>> {
    match file {
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => Ok(None),
        file => file.map(Some),
    }
}

/// Where the file system has no locks there is nothing to wait for, and edits are compared as ever.
fn without(error: &io::Error) -> Option<WriteLock> {
    (error.kind() == io::ErrorKind::Unsupported).then_some(WriteLock(None))
}

/// A file of its own: over NFS a directory cannot be locked. Whoever may write in the directory may put
/// anything in its place: a link is not followed, and a pipe is not waited for.
fn open(directory: &Path) -> io::Result<File> {
    make(directory)?;
    let path = directory.join(NAME);
    let own = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path);
    match own {
        Ok(file) => {
            share(&file, &fs::metadata(directory)?);
            Ok(file)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
            let mut options = OpenOptions::new();
            let options = options.write(true);
            options.custom_flags(flags.bits().cast_signed()).open(&path)
        }
        Err(error) => Err(error),
    }
}

/// Whoever may write in the directory may lock it: an administrator's command must not shut the gateway out,
/// nor one user another. Only a file that was just made is given away.
fn share(file: &File, directory: &Metadata) {
    // Each as far as it may: only the superuser gives a file to another user.
    if fchown(file, None, Some(directory.gid())).is_ok() {
        let mode = 0o600 | (directory.mode() & 0o060);
        let _ = file.set_permissions(Permissions::from_mode(mode));
    }
    let _ = fchown(file, Some(directory.uid()), None);
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{chown, symlink};

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

    #[test]
    fn a_link_in_its_place_is_not_followed_and_a_pipe_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let (auths, other) = (dir.path().join("auths"), dir.path().join("other"));
        make(&auths).unwrap();
        fs::write(&other, "somebody else's").unwrap();
        let before = fs::metadata(&other).unwrap();
        for target in [&other, &dir.path().join("none")] {
            symlink(target, auths.join(NAME)).unwrap();
            WriteLock::try_take(&auths).unwrap_err();
            WriteLock::take(&auths).unwrap_err();
            fs::remove_file(auths.join(NAME)).unwrap();
        }
        let after = fs::metadata(&other).unwrap();
        assert_eq!((after.uid(), after.mode()), (before.uid(), before.mode()));
        assert!(!dir.path().join("none").exists());
        let fifo = rustix::fs::FileType::Fifo;
        let path = auths.join(NAME);
        rustix::fs::mknodat(rustix::fs::CWD, &path, fifo, 0o600.into(), 0).unwrap();
        WriteLock::take(&auths).unwrap_err();
    }

    #[test]
    fn who_may_write_in_the_directory_may_lock_it() {
        let dir = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        for (of_directory, of_lock) in [(0o700, 0o600), (0o770, 0o660), (0o757, 0o640)] {
            fs::set_permissions(dir.path(), Permissions::from_mode(of_directory)).unwrap();
            WriteLock::take(dir.path()).unwrap();
            let path = dir.path().join(NAME);
            assert_eq!(mode(&path), of_lock, "{of_directory:o}");
            let gid = |path: &Path| fs::metadata(path).unwrap().gid();
            assert_eq!(gid(&path), gid(dir.path()));
            // One that was there stays as it was.
            fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
            WriteLock::take(dir.path()).unwrap();
            assert_eq!(mode(&path), 0o644);
            fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn the_superusers_lock_is_the_directorys_owners() {
        let dir = tempfile::tempdir().unwrap();
        // Only the superuser can try it.
        if chown(dir.path(), Some(4321), Some(4322)).is_err() {
            return;
        }
        WriteLock::take(dir.path()).unwrap();
        let lock = fs::metadata(dir.path().join(NAME)).unwrap();
        assert_eq!((lock.uid(), lock.gid()), (4321, 4322));
    }

    #[test]
    fn where_nobody_writes_there_is_nothing_to_wait_for() {
        let read_only = || Err(io::ErrorKind::ReadOnlyFilesystem.into());
        assert!(writable(read_only()).unwrap().is_none());
        assert!(writable(Err(io::ErrorKind::PermissionDenied.into())).is_err());
    }
}
