//! One file of the spool.
//!
//! ```text
//! turnpike-audit 1 CHAIN SEQ HASH          the record before the first of this file
//! CHECKSUM RECORD
//! CHECKSUM RECORD
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::json::hex;
use crate::record::{Hash, NONE};

const MAGIC: &str = "turnpike-audit 1";

/// Digits of a checksum, and the blank behind.
const CHECKSUM: usize = 9;

/// What the first line of a segment says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) chain: String,
    /// Of the record before the first.
    pub(crate) seq: u64,
    pub(crate) hash: Hash,
}

impl Header {
    fn line(&self) -> String {
        let hash = String::from_utf8_lossy(&self.hash);
        format!("{MAGIC} {} {} {hash}\n", self.chain, self.seq)
    }

    fn read(line: &str) -> Option<Self> {
        let mut words = line.strip_prefix(MAGIC)?.trim().split(' ');
        let header = Self {
            chain: words.next()?.to_owned(),
            seq: words.next()?.parse().ok()?,
            hash: words.next()?.as_bytes().try_into().ok()?,
        };
        let is_plain = header.chain.bytes().all(|byte| byte.is_ascii_hexdigit());
        (words.next().is_none() && is_plain && !header.chain.is_empty()).then_some(header)
    }

    /// Of a chain that begins.
    pub(crate) fn begin(chain: String) -> Self {
        Self {
            chain,
            seq: 0,
            hash: NONE,
        }
    }
}

/// Where the segment of this number is.
pub(crate) fn path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:010}.seg"))
}

/// The numbers of the segments there are, oldest first.
pub(crate) fn numbers(directory: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for file in fs::read_dir(directory)? {
        let name = file?.file_name();
        let digits = name.to_str().and_then(|name| name.strip_suffix(".seg"));
        numbers.extend(digits.and_then(|digits| digits.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Begins a segment. None is there under its number.
pub(crate) fn create(directory: &Path, number: u64, header: &Header) -> io::Result<(File, u64)> {
    let path = path(directory, number);
    let mut options = OpenOptions::new();
    // One whose header could not be written whole was left by a full disk: it has no records.
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&path)?;
    let line = header.line();
    file.write_all(line.as_bytes())?;
    Ok((file, line.len() as u64))
}

/// Puts a record that begins at `begin` of `lines` and ends there into its line.
pub(crate) fn frame(lines: &mut Vec<u8>, begin: usize) {
    let checksum = crc32fast::hash(&lines[begin + CHECKSUM..]);
    for (at, byte) in checksum.to_be_bytes().into_iter().enumerate() {
        lines[begin + 2 * at..][..2].copy_from_slice(&hex(byte));
    }
    lines.push(b'\n');
}

/// Makes room for what [`frame`] fills in.
pub(crate) fn begin(lines: &mut Vec<u8>) -> usize {
    let begin = lines.len();
    lines.extend_from_slice(b"00000000 ");
    begin
}

/// The record of a line without its break; `None` when it is not exactly what was written.
pub(crate) fn record(line: &[u8]) -> Option<&[u8]> {
    let (checksum, record) = line.split_at_checked(CHECKSUM)?;
    let stated = u32::from_str_radix(str::from_utf8(&checksum[..8]).ok()?, 16).ok()?;
    (checksum[8] == b' ' && stated == crc32fast::hash(record)).then_some(record)
}

/// The lines of a segment from a place on.
pub(crate) struct Lines {
    file: BufReader<File>,
    /// Behind the last whole line.
    pub(crate) offset: u64,
    line: Vec<u8>,
}

impl Lines {
    /// Of this segment, behind its header.
    pub(crate) fn open(directory: &Path, number: u64) -> io::Result<(Header, Self)> {
        let mut file = BufReader::with_capacity(1 << 16, File::open(path(directory, number))?);
        let mut first = String::new();
        // It may be anything.
        file.by_ref().take(512).read_line(&mut first)?;
        let header = first
            .ends_with('\n')
            .then(|| Header::read(&first))
            .flatten();
        let header = header.ok_or(io::ErrorKind::InvalidData)?;
        let offset = first.len() as u64;
        let lines = Self {
            file,
            offset,
            line: Vec::new(),
        };
        Ok((header, lines))
    }

    /// Goes to where a line begins.
    pub(crate) fn seek(&mut self, offset: u64) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(offset))?;
        self.offset = offset;
        self.line.clear();
        Ok(())
    }

    /// The next line: its record, or `Err` of its length where it is none. `None` at the end of what is
    /// written: it may go on later.
    pub(crate) fn next(&mut self) -> io::Result<Option<Result<&[u8], u64>>> {
        if self.line.last() == Some(&b'\n') {
            self.line.clear();
        }
        // What was read of a line that is still being written stays.
        self.file.read_until(b'\n', &mut self.line)?;
        let Some((b'\n', line)) = self.line.split_last() else {
            return Ok(None);
        };
        self.offset += self.line.len() as u64;
        Ok(Some(record(line).ok_or(self.line.len() as u64)))
    }

    /// Bytes at the end that are no whole line.
    pub(crate) fn torn(&self) -> u64 {
        match self.line.last() {
            Some(b'\n') | None => 0,
            Some(_) => self.line.len() as u64,
        }
    }
}
