//! One file: is it another one than before, may it be used, and what does it hold?

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use zeroize::Zeroizing;

use super::Policy;

/// No credential is that large; it is some other file.
const LARGEST: u64 = 1024 * 1024;

/// Reading or writing, by group or world.
const SHARED: u32 = 0o066;

/// File systems count time in steps of up to this: a file written twice within one looks the same.
const STEP: Duration = Duration::from_secs(2);

/// Which file it is, and which writing of it: of a link's target, so that a link pointed elsewhere
/// is noticed.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    mode: u32,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// What a look at a file found.
pub(super) enum Seen {
    /// There is no such file any more.
    Gone,
    /// The file that was read before.
    Same,
    /// It was written or replaced meanwhile.
    Unsettled,
    Refused(Refusal),
    Read(Contents),
}

/// A file that cannot be used.
pub(super) struct Refusal {
    /// Why, and what helps.
    pub(super) what: String,
    /// Whether the version read before may be used on.
    pub(super) keeps: bool,
    pub(super) modified_ms: Option<u64>,
}

/// A file that was read whole.
pub(super) struct Contents {
    pub(super) identity: Identity,
    pub(super) bytes: Zeroizing<Vec<u8>>,
    pub(super) warning: Option<String>,
    pub(super) modified_ms: u64,
}

impl Identity {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            mode: metadata.mode(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Itself when the next writing is sure to give another one.
    pub(super) fn settled(self, now: SystemTime) -> Option<Self> {
        let seconds = u64::try_from(self.changed.0).unwrap_or(0);
        let changed = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let age = now.duration_since(changed).unwrap_or_default();
        (age > STEP).then_some(self)
    }
}

/// Looks at the file, and reads it unless it is the one of `before`.
pub(super) fn look(path: &Path, policy: &Policy, before: Option<&Identity>) -> Seen {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => return without_target(path, &error),
    };
    let identity = Identity::of(&metadata);
    if before == Some(&identity) {
        return Seen::Same;
    }
    let refuse = |what, keeps| {
        Seen::Refused(Refusal {
            what,
            keeps,
            modified_ms: Some(modified_ms(&metadata)),
        })
    };
    if let Err(what) = check(path, &metadata) {
        return refuse(what, true);
    }
    let shared = shared(path, &metadata);
    if let Some(what) = &shared
        && policy.require_private_files
    {
        return refuse(format!("{what}; it is not used"), false);
    }
    match read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Seen::Unsettled,
        Err(error) => refuse(
            format!("cannot be read: {error}; let this user read it"),
            true,
        ),
        Ok(_) if !is_still(path, &identity) => Seen::Unsettled,
        Ok(bytes) => Seen::Read(Contents {
            identity,
            bytes,
            warning: shared,
            modified_ms: modified_ms(&metadata),
        }),
    }
}

/// A name without a file behind it: just removed, or a link to nothing or to itself.
fn without_target(path: &Path, error: &io::Error) -> Seen {
    let what = match fs::symlink_metadata(path) {
        Err(gone) if gone.kind() == io::ErrorKind::NotFound => return Seen::Gone,
        Ok(link) if link.is_symlink() => {
            format!("the link cannot be followed: {error}; point it at a file, or remove it")
        }
        _ => format!("cannot be looked at: {error}; let this user read it"),
    };
    Seen::Refused(Refusal {
        what,
        keeps: true,
        modified_ms: None,
    })
}

/// Opening anything but a file can wait for ever.
fn check(path: &Path, metadata: &Metadata) -> Result<(), String> {
    if !is_plain(path) {
        return Err("its name is not plain text; rename it".into());
    }
    if !metadata.is_file() {
        return Err("is not a file; remove it, or give it a name without .json".into());
    }
    match metadata.len() > LARGEST {
        true => Err(huge()),
        false => Ok(()),
    }
}

fn is_plain(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| !name.chars().any(char::is_control))
}

fn huge() -> String {
    "larger than 1 MiB, so it is no credential; remove it".into()
}

fn shared(path: &Path, metadata: &Metadata) -> Option<String> {
    let mode = metadata.mode() & 0o777;
    (mode & SHARED != 0).then(|| {
        format!(
            "others than its owner can read or write it (mode {mode:o}): chmod 600 {}",
            path.display()
        )
    })
}

/// Space for all of it at once leaves no copies behind. A file that has grown beyond the bound is
/// another one by then.
fn read(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let file = File::open(path)?;
    let size = file.metadata()?.len().min(LARGEST) as usize;
    let mut bytes = Zeroizing::new(Vec::with_capacity(size + 64));
    file.take(LARGEST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn is_still(path: &Path, identity: &Identity) -> bool {
    fs::metadata(path).is_ok_and(|metadata| Identity::of(&metadata) == *identity)
}

fn modified_ms(metadata: &Metadata) -> u64 {
    let seconds = u64::try_from(metadata.mtime()).unwrap_or(0);
    let millis = u64::try_from(metadata.mtime_nsec()).unwrap_or(0) / 1_000_000;
    seconds.saturating_mul(1000).saturating_add(millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_written_or_replaced_meanwhile_is_another_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        fs::write(&path, "{}").unwrap();
        let identity = Identity::of(&fs::metadata(&path).unwrap());
        assert!(is_still(&path, &identity));
        fs::write(&path, "{\"token\":").unwrap();
        assert!(!is_still(&path, &identity));
        fs::remove_file(&path).unwrap();
        assert!(!is_still(&path, &identity));
    }
}
