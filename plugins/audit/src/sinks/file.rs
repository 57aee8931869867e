//! A file, a line a record.
//!
//! When it is large it is renamed to `NAME.1`, the one before to `NAME.2`, and so on. Somebody else may
//! rename or remove it as well: it is made anew.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use memchr::memmem;

use super::{Batch, Sink, SinkError};
use crate::Format;

/// What the file is, and when there is another one.
#[derive(Clone, Debug)]
pub struct Options {
    pub path: PathBuf,
    pub format: Format,
    /// Bytes; a file is as large as its last batch made it.
    pub max: u64,
    /// How many files there are beside the one that is written to; the oldest is removed.
    pub keep: u32,
}

/// The file.
pub struct FileSink {
    options: Options,
    open: Option<Open>,
    lines: Vec<u8>,
    /// The record written last, of this chain.
    chain: Vec<u8>,
    last: u64,
}

struct Open {
    file: File,
    len: u64,
    /// Tells it from another one of its name.
    inode: u64,
}

/// The files that there are of a sink.
pub struct Files {
    /// Oldest first.
    pub all: Vec<(PathBuf, File)>,
    /// There are as many as are kept: older ones may have been removed.
    pub is_full: bool,
}

/// A record is shorter, in any format: one with the longest prompt, each character of it escaped, has less
/// than half of that.
const LONGEST: u64 = 4 << 20;

/// Bytes that are read at a time, from the end on.
const PIECE: u64 = 64 << 10;

impl FileSink {
    pub fn new(options: Options) -> Self {
        Self {
            options,
            open: None,
            lines: Vec::new(),
            chain: Vec::new(),
            last: 0,
        }
    }

    /// The file of this name, which may be another one than before.
    fn file(&mut self) -> io::Result<&mut Open> {
        let there = fs::metadata(&self.options.path).ok();
        let is_it = |open: &Open| there.as_ref().is_some_and(|it| it.ino() == open.inode);
        if !self.open.as_ref().is_some_and(is_it) {
            self.open = None;
        }
        let open = match self.open.take() {
            Some(open) => open,
            None => open(&self.options.path)?,
        };
        Ok(self.open.insert(open))
    }

    /// Of the file, or of the one that was renamed last.
    fn last_line(&self) -> Option<Vec<u8>> {
        let path = &self.options.path;
        last_line(path).or_else(|| last_line(&rotated(path, 1)))
    }

    fn rotate(&mut self) -> io::Result<()> {
        if let Some(open) = self.open.take() {
            open.file.sync_data()?;
        }
        let path = &self.options.path;
        if self.options.keep == 0 {
            return fs::remove_file(path);
        }
        for number in (1..self.options.keep).rev() {
            let from = rotated(path, number);
            if from.exists() {
                fs::rename(from, rotated(path, number + 1))?;
            }
        }
        fs::rename(path, rotated(path, 1))
    }
}

impl Files {
    /// Opens them, newest first: one that is renamed meanwhile is found under its next name, and none is
    /// passed over.
    pub fn open(path: &Path, keep: u32) -> io::Result<Self> {
        let (mut all, mut known) = (Vec::new(), BTreeSet::new());
        let mut is_full = keep == 0;
        for number in 0..=keep {
            let name = match number {
                0 => path.to_owned(),
                number => rotated(path, number),
            };
            let file = match File::open(&name) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let about = file.metadata()?;
            is_full |= number == keep;
            if known.insert((about.dev(), about.ino())) {
                all.push((name, file));
            }
        }
        all.reverse();
        Ok(Self { all, is_full })
    }
}

impl Sink for FileSink {
    fn begin(&mut self, chain: &str, seq: u64) {
        self.chain = format!("\"chain\":\"{chain}\"").into_bytes();
        self.last = seq;
        // What was written after its place was saved, before the process was killed.
        if !chain.is_empty()
            && let Some(last) = self.last_line()
            && let Some(seq) = self.options.format.seq_of(&last, chain)
        {
            self.last = self.last.max(seq);
        }
    }

    fn deliver(&mut self, batch: &Batch) -> Result<(), SinkError> {
        let mut lines = std::mem::take(&mut self.lines);
        lines.clear();
        for (record, seq) in batch.records() {
            let is_written = seq <= self.last && memmem::find(record, &self.chain).is_some();
            if !is_written {
                self.options.format.write(record, &mut lines);
                lines.push(b'\n');
            }
        }
        let max = self.options.max;
        let written = self.file().and_then(|open| open.append(&lines));
        self.lines = lines;
        let is_large = written
            .map_err(|error| SinkError::new(format!("{}: {error}", self.options.path.display())))?
            >= max;
        if is_large && let Err(error) = self.rotate() {
            // It grows on, which loses nothing.
            tracing::warn!(%error, path = %self.options.path.display(), "an audit file was not rotated");
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.open
            .as_ref()
            .map_or(Ok(()), |open| open.file.sync_data())
    }
}

impl Open {
    /// All of it or nothing; answers how long the file is.
    fn append(&mut self, lines: &[u8]) -> io::Result<u64> {
        if let Err(error) = self.file.write_all(lines) {
            // It is written again, and half a line must not stand before it.
            self.file.set_len(self.len)?;
            self.file.seek(SeekFrom::Start(self.len))?;
            return Err(error);
        }
        self.len += lines.len() as u64;
        Ok(self.len)
    }
}

fn open(path: &Path) -> io::Result<Open> {
    let mut options = OpenOptions::new();
    let mut file = options
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)?;
    let about = file.metadata()?;
    let mut len = about.len();
    if len > 0 {
        match begin_of_line(&file, len)? {
            Some(whole) if is_ours(&file, whole, len)? => {
                // The process was killed in the middle of a line: that record comes again.
                len = whole;
                file.set_len(len)?;
            }
            _ => {
                // What is not ours is not ours to cut.
                file.write_all(b"\n")?;
                len += 1;
            }
        }
    }
    file.seek(SeekFrom::Start(len))?;
    Ok(Open {
        file,
        len,
        inode: about.ino(),
    })
}

/// How a record begins, by its format.
const BEGINS: [&[u8]; 4] = [
    b"{\"v\":",
    b"{\"activity_id\":",
    b"{\"@timestamp\":",
    b"CEF:0|Turnpike|",
];

/// Whether what stands there, to the end of the file, is the beginning of a record, or nothing.
fn is_ours(file: &File, from: u64, len: u64) -> io::Result<bool> {
    let torn = read(file, from, len.min(from + 32))?;
    let is_it = |begin: &&[u8]| begin.starts_with(&torn) || torn.starts_with(begin);
    Ok(BEGINS.iter().any(is_it))
}

/// Where the line begins that goes on until there: behind the line break before it. `None` where it is
/// longer than a record can be.
fn begin_of_line(file: &File, end: u64) -> io::Result<Option<u64>> {
    let mut at = end;
    while at > 0 {
        if end - at >= LONGEST {
            return Ok(None);
        }
        let from = at.saturating_sub(PIECE);
        let piece = read(file, from, at)?;
        if let Some(found) = memchr::memrchr(b'\n', &piece) {
            return Ok(Some(from + found as u64 + 1));
        }
        at = from;
    }
    Ok(Some(0))
}

fn read(file: &File, from: u64, to: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(to - from).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, from)?;
    Ok(bytes)
}

/// The last whole line of a file.
fn last_line(path: &Path) -> Option<Vec<u8>> {
    let file = File::open(path).ok()?;
    let len = file.metadata().ok()?.len();
    let end = begin_of_line(&file, len).ok()??.checked_sub(1)?;
    let from = begin_of_line(&file, end).ok()??;
    read(&file, from, end).ok()
}

/// The file that was renamed so many times.
pub fn rotated(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}
