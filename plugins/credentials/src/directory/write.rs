//! A credential file of the gateway's own: there whole or not at all, and readable by its owner
//! alone.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, chown};
use std::path::{Path, PathBuf};

use ring::rand::{SecureRandom, SystemRandom};

/// Writes the file `name`, which must not be there. The directory is made where there is none.
pub fn add_file(directory: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    make(directory)?;
    let draft = draft(directory, name);
    let written = write(&draft, bytes).and_then(|()| {
        // Unlike a rename, a link does not replace a file of that name.
        fs::hard_link(&draft, directory.join(name))
    });
    let removed = fs::remove_file(&draft);
    written.and(removed)?;
    keep(directory)
}

/// Writes the file `name` in the place of what it was, with its owner and permissions: whoever could
/// read it can, also when somebody else writes it.
pub fn replace_file(directory: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let path = directory.join(name);
    let draft = draft(directory, name);
    let before = fs::metadata(&path)?;
    let written = write(&draft, bytes)
        .and_then(|()| chown(&draft, Some(before.uid()), Some(before.gid())))
        .and_then(|()| fs::set_permissions(&draft, before.permissions()))
        .and_then(|()| fs::rename(&draft, &path));
    if written.is_err() {
        // It is of no use any more.
        let _ = fs::remove_file(&draft);
    }
    written?;
    keep(directory)
}

/// Removes the file `name`.
pub fn remove_file(directory: &Path, name: &str) -> io::Result<()> {
    fs::remove_file(directory.join(name))?;
    keep(directory)
}

/// Makes the directory where there is none.
pub(super) fn make(directory: &Path) -> io::Result<()> {
    let mut maker = DirBuilder::new();
    maker.recursive(true).mode(0o700).create(directory)
}

/// A name with a dot in front is nobody's credential; each writer has a draft of its own.
fn draft(directory: &Path, name: &str) -> PathBuf {
    let mut unique = [0; 8];
    // Without randomness two writers at once may disturb each other, and are told.
    let _ = SystemRandom::new().fill(&mut unique);
    directory.join(format!(".{name}.{:016x}.new", u64::from_le_bytes(unique)))
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// What was done to the directory outlives a loss of power.
fn keep(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_private_and_replaces_none() {
        let dir = tempfile::tempdir().unwrap();
        let auths = dir.path().join("some/auths");
        add_file(&auths, "a.json", b"one").unwrap();
        let again = add_file(&auths, "a.json", b"two").unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(auths.join("a.json")).unwrap(), b"one");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&auths), mode(&auths.join("a.json"))), (0o700, 0o600));
        assert_eq!(fs::read_dir(&auths).unwrap().count(), 1);
        remove_file(&auths, "a.json").unwrap();
        assert_eq!(fs::read_dir(&auths).unwrap().count(), 0);
    }
}
