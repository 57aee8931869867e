//! The journals beside the database: what was recorded and is not folded into it yet.
//!
//! Recording is one `write` to a file that is only appended to. Once it has returned, the lines are
//! the system's to keep, whatever becomes of the process. The files have a directory of their own:
//! somebody who watches the one of the database would be woken by every write.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use turnpike_api::{Entry, Mark, StoreError};

use super::failure::Failure;
use super::notes::Notes;
use super::sums::Sums;
use super::tally;

/// The journal that is being written.
pub(super) struct Journal {
    database: PathBuf,
    notes: Notes,
}

/// A file that is complete: nobody writes to it any more.
pub(super) struct Complete {
    pub(super) segment: Arc<Segment>,
    /// What its entries come to. `None` = there were too many callers to add up: it has to be read.
    pub(super) sums: Option<Sums>,
}

/// One file of the journal.
pub(super) struct Segment {
    /// Grows from file to file. The database knows which was folded last.
    pub(super) seq: u64,
    pub(super) path: PathBuf,
    /// Kept open, so that a file somebody removed is still folded.
    pub(super) file: File,
}

impl Journal {
    pub(super) fn begin(database: &Path, seq: u64) -> Result<Self, Failure> {
        let segment = Segment::create(database, seq)?;
        Ok(Self {
            database: database.to_owned(),
            notes: Notes::new(&Arc::new(segment)),
        })
    }

    pub(super) fn note(&self, entry: &Entry<'_>) -> Mark {
        self.notes.note(entry)
    }

    pub(super) fn keep(&self, mark: Mark) -> Result<(), StoreError> {
        self.notes.keep(mark)
    }

    /// Begins a new file and hands over the one so far, with all that was noted. `None` when nothing
    /// was.
    pub(super) fn rotate(&self) -> Result<Option<Complete>, Failure> {
        if self.notes.are_blank() {
            return Ok(None);
        }
        let segment = self.notes.segment();
        let next = Segment::create(&self.database, segment.seq + 1)?;
        let tallies = self.notes.turn(&Arc::new(next));
        let sums = tally::total(&tallies);
        Ok(Some(Complete { segment, sums }))
    }

    /// Removes the last file when nothing was written to it, and the directory when it is empty.
    pub(super) fn end(&self) {
        let last = self.notes.segment();
        if last.file.metadata().is_ok_and(|about| about.len() == 0) {
            last.remove();
            let _ = fs::remove_dir(beside(&self.database, DIRECTORY));
        }
    }
}

impl Segment {
    fn create(database: &Path, seq: u64) -> Result<Self, Failure> {
        let directory = beside(database, DIRECTORY);
        let path = directory.join(format!("{seq:06}"));
        let mut options = OpenOptions::new();
        options.create(true).append(true).read(true).mode(0o600);
        let opened = match options.open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => DirBuilder::new()
                .mode(0o700)
                .create(&directory)
                .and_then(|()| options.open(&path)),
            opened => opened,
        };
        match opened {
            Ok(file) => Ok(Self { seq, path, file }),
            Err(error) => Err(Failure::journal(&path, error)),
        }
    }

    /// One write: the system keeps those of several threads apart, each in one piece.
    pub(super) fn append(&self, lines: &[u8]) -> Result<(), String> {
        let written = loop {
            match (&self.file).write(lines) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                written => break written,
            }
        };
        let cut = match written {
            Ok(written) if written == lines.len() => return Ok(()),
            Ok(_) => io::Error::from(io::ErrorKind::StorageFull),
            Err(error) => error,
        };
        Err(format!("{}: {cut}", self.path.display()))
    }

    /// Removes a file that was folded. Where that fails, it is passed over by its number, and
    /// removed at the next start.
    pub(super) fn remove(&self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(%error, path = %self.path.display(), "a folded journal stays");
        }
    }
}

const DIRECTORY: &str = ".usage";

/// A file beside the database that bears its name and more.
pub(super) fn beside(database: &Path, suffix: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Every journal there is, opened, oldest first. One that disappears meanwhile was folded.
pub(super) fn segments(database: &Path) -> Result<Vec<Segment>, Failure> {
    let directory = beside(database, DIRECTORY);
    let failed = |error| Failure::journal(&directory, error);
    let files = match fs::read_dir(&directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        files => files.map_err(failed)?,
    };
    let mut segments = Vec::new();
    for file in files {
        let name = file.map_err(failed)?.file_name();
        let Some(seq) = number(&name) else {
            continue;
        };
        let path = directory.join(name);
        match File::open(&path) {
            Ok(file) => segments.push(Segment { seq, path, file }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Failure::journal(&path, error)),
        }
    }
    segments.sort_by_key(|segment| segment.seq);
    Ok(segments)
}

/// The number of a journal, by its name.
fn number(name: &OsStr) -> Option<u64> {
    let digits = name.as_encoded_bytes();
    let plain = digits.iter().all(u8::is_ascii_digit);
    plain.then(|| str::from_utf8(digits).ok()?.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_are_journals() {
        let number = |name: &str| number(name.as_ref());
        assert_eq!(number("000012"), Some(12));
        assert_eq!(number("1000000"), Some(1_000_000));
        for other in ["", "+1", "1.bak", "99999999999999999999999"] {
            assert_eq!(number(other), None, "{other}");
        }
    }
}
