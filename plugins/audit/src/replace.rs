//! Files that are written anew as a whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A file is filled up to a multiple of this: file systems give room in pieces that are not larger.
const PIECE: usize = 4096;

/// Writes a file in the place of another, whole or not at all, also should the machine lose power.
///
/// It needs no room that is not taken already, so that it works on a full disk, too: what is saved there is
/// what lets room be made. So the one before stays beside it, and is written over the next time; and both
/// are filled up with blanks, so that a text that is a little longer fits as well.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let draft = path.with_extension("new");
    let mut filled = bytes.to_vec();
    filled.resize(bytes.len().next_multiple_of(PIECE), b' ');
    write(&draft, &filled)?;
    if exchange(&draft, path).is_err() {
        fs::rename(&draft, path)?;
        sync_names(path)?;
        // Where there is no room for it now it is made the next time.
        let _ = write(&draft, &filled);
        return Ok(());
    }
    // Before the one that is the draft now is written over: until this it may be the one that a loss of
    // power leaves under the name.
    sync_names(path)
}

/// What was saved there; nothing where there is none, or it is damaged.
pub(crate) fn load<T: DeserializeOwned + Default>(path: &Path) -> T {
    let read = fs::read(path).ok();
    let read = read.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    read.unwrap_or_default()
}

/// In the place of what was saved before, whole or not at all.
pub(crate) fn save(path: &Path, value: &impl Serialize) -> io::Result<()> {
    replace(path, &serde_json::to_vec(value)?)
}

/// Makes sure of which file has which name in the directory of this one. Some file systems of networks do
/// not know how: there it is as sure as they are.
fn sync_names(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|path| !path.as_os_str().is_empty());
    match File::open(directory.unwrap_or(Path::new(".")))?.sync_all() {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported
            ) =>
        {
            Ok(())
        }
        synced => synced,
    }
}

/// Over what stands there.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(false).mode(0o600);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    // It may have been longer.
    file.set_len(bytes.len() as u64)?;
    file.sync_data()
}

/// Each gets the other's name, in one step. Not where one is not there, and not on every file system.
#[cfg(target_os = "linux")]
fn exchange(draft: &Path, path: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, draft, CWD, path, RenameFlags::EXCHANGE)?)
}

#[cfg(not(target_os = "linux"))]
fn exchange(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    /// The files there are, with their lengths, by what they are to the file system.
    fn files(directory: &Path) -> BTreeMap<u64, u64> {
        let files = fs::read_dir(directory).unwrap();
        let about = files.map(|file| file.unwrap().metadata().unwrap());
        about.map(|about| (about.ino(), about.len())).collect()
    }

    #[test]
    fn it_takes_no_room_that_is_not_there() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("place.cursor");
        replace(&path, b"{}").unwrap();
        let before = files(directory.path());
        assert_eq!(before.len(), 2);
        for text in ["[1,2]", "[3]", &format!("[{}]", "7".repeat(4000))] {
            replace(&path, text.as_bytes()).unwrap();
            assert_eq!(files(directory.path()), before, "the same two files");
            assert_eq!(fs::read_to_string(&path).unwrap().trim_end(), text);
        }
    }

    #[test]
    fn one_that_was_long_is_short_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("place.cursor");
        for text in ["1".repeat(9000), "2".repeat(9000), "3".into(), "4".into()] {
            replace(&path, text.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap().trim_end(), text);
        }
        assert!(files(directory.path()).values().all(|len| *len == 4096));
    }
}
