//! The key that links, cookies and forms are sealed with, where the configuration has none: a file
//! beside the database, made once.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use thiserror::Error;
use turnpike_api::Secret;
use turnpike_config::plan::SecretKey;

/// Why there is no key.
#[derive(Debug, Error)]
pub enum SecretKeyError {
    #[error("{}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{} does not hold a key of 32 bytes; restore it, or remove it to have another one made: people then have to log in again", .0.display())]
    Unreadable(PathBuf),
    #[error("the system gives no random numbers: {0}")]
    Random(getrandom::Error),
}

/// The key beside the database at `store`; made when there is none.
pub fn beside(store: &Path) -> Result<SecretKey, SecretKeyError> {
    let mut name = store.as_os_str().to_owned();
    name.push(".key");
    let path = PathBuf::from(name);
    let failed = |source| SecretKeyError::File {
        path: path.clone(),
        source,
    };
    loop {
        match fs::read_to_string(&path) {
            Ok(text) => {
                let key = SecretKey::read(&Secret::new(text));
                return key.ok_or_else(|| SecretKeyError::Unreadable(path.clone()));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        match make(&path, &random()?) {
            // Somebody else made one meanwhile: that is the key.
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(error)),
        }
    }
}

/// A new key.
pub fn random() -> Result<SecretKey, SecretKeyError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(SecretKeyError::Random)?;
    Ok(SecretKey::of(bytes))
}

/// Whole or not at all, and never in the place of another: it is written under another name, and
/// linked to its own, which fails where there is one.
fn make(path: &Path, key: &SecretKey) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{:016x}", fastrand::u64(..)));
    let draft = PathBuf::from(name);
    let written = write(&draft, key).and_then(|()| fs::hard_link(&draft, path));
    // It is of no use any more, whatever came of it.
    let _ = fs::remove_file(&draft);
    written?;
    // A loss of power must not take the key that people have logged in by.
    let directory = path.parent().filter(|parent| *parent != Path::new(""));
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

fn write(path: &Path, key: &SecretKey) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file: File = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(key.written().expose().as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn it_is_made_once_for_its_owners_eyes() {
        let dir = tempfile::tempdir().unwrap();
        let store = dir.path().join("turnpike.db");
        let made: Vec<SecretKey> = std::thread::scope(|scope| {
            let makers: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| beside(&store).unwrap()))
                .collect();
            makers
                .into_iter()
                .map(|maker| maker.join().unwrap())
                .collect()
        });
        assert!(made.iter().all(|key| *key == made[0]), "all have the same");
        let files: Vec<_> = fs::read_dir(dir.path()).unwrap().collect();
        assert_eq!(files.len(), 1, "no draft is left");
        let path = dir.path().join("turnpike.db.key");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        fs::write(&path, "short").unwrap();
        assert!(matches!(beside(&store), Err(SecretKeyError::Unreadable(_))));
    }
}
