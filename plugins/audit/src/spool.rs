//! Records on their way: noted in memory, then appended to a segment on the disk with one write, many
//! at once.
//!
//! What [`keep`](Spool::keep) has returned for is the system's to keep, whatever becomes of the process.
//! What was noted only is written with the next that is kept, or some 50 ms later.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use thiserror::Error;

use crate::ended::Ended;
use crate::open_requests::{OpenRequests, Start};
use crate::record::{Chain, Hash, seq_of, stated_hash};
use crate::replace::replace;
use crate::segment::{self, Header, Lines};
use crate::{Event, SigningKey};

/// What becomes of calls when there is no room for what is told of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// They are refused.
    Refuse,
    /// They go on: sinks that lag behind miss the oldest records, which are counted.
    DropOldest,
}

/// How much is kept, and where.
#[derive(Clone, Debug)]
pub struct Terms {
    pub directory: PathBuf,
    /// Bytes.
    pub max: u64,
    pub when_full: WhenFull,
    /// Tells this start of the machine from others, as [`boot_id`] does; empty = nobody can.
    pub boot: String,
}

/// What the system calls this start of the machine.
pub fn boot_id() -> String {
    let read = fs::read_to_string("/proc/sys/kernel/random/boot_id");
    read.unwrap_or_default().trim().to_owned()
}

/// Why the spool cannot be used.
#[derive(Debug, Error)]
pub enum OpenError {
    #[error("{}: another gateway uses it; give each its own `audit.spool.path`", .0.display())]
    InUse(PathBuf),
    #[error("{}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("cannot start a thread for it")]
    Thread(#[source] io::Error),
}

/// What is told cannot be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the audit spool takes no more records")]
pub struct Unavailable;

/// A place behind a record: it and all before it are kept together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(Option<u64>);

impl Mark {
    /// Whether there is such a record: not where there was no room for it.
    pub fn is_noted(self) -> bool {
        self.0.is_some()
    }
}

/// As much is held in memory while the disk takes nothing.
const HELD: usize = 8 << 20;

/// As much of that, in both buffers together, may be there for prompts to be held, too: they are long, and
/// what calls and operators did is to have its room.
const HELD_WITH_PROMPTS: usize = HELD / 2;

/// A buffer that has been larger is given back.
const SPARE: usize = 256 << 10;

pub(crate) struct Spool {
    terms: Terms,
    segment: u64,
    /// That is written, as long as the spool is open.
    chain: String,
    noted: Mutex<Noted>,
    active: Mutex<Active>,
    /// The segments there are, with their lengths; that which is written to is not among them.
    kept: Mutex<BTreeMap<u64, u64>>,
    open: Mutex<OpenRequests>,
    /// The number of the last record that is written.
    written: AtomicU64,
    /// The segment that is written to.
    number: AtomicU64,
    /// Of all segments.
    bytes: AtomicU64,
    /// Bytes that the last write did not bring to the disk.
    left: AtomicUsize,
    /// The last write failed.
    failed: AtomicBool,
    lost: AtomicU64,
    /// Held as long as the spool is open.
    _lock: File,
}

/// What is not handed to the disk yet.
struct Noted {
    chain: Chain,
    lines: Vec<u8>,
}

/// What the disk has.
struct Active {
    file: File,
    len: u64,
    /// What it did not take yet.
    lines: Vec<u8>,
    /// The last of these.
    seq: u64,
    hash: Hash,
    /// Something was written since it was synced.
    dirty: bool,
    /// Segments that nobody writes to any more, to be synced.
    full: Vec<File>,
}

/// What was found at the start.
pub(crate) struct Found {
    /// Calls that were under way when the process before was killed.
    pub(crate) aborted: Vec<(String, Start)>,
    /// Bytes at the end of the last segment that are no records, and the last record that is one.
    pub(crate) damaged: Option<(u64, u64)>,
}

impl Spool {
    /// Opens the spool and goes on with its chain, or begins one named `chain`.
    ///
    /// When the machine was started anew a chain begins: of the one before, sinks may have records that
    /// the disk lost with the power, and no other record may have their numbers.
    pub(crate) fn open(
        terms: Terms,
        chain: &str,
        replica: &str,
    ) -> Result<(Self, Found), OpenError> {
        let directory = terms.directory.clone();
        let failed = |source| OpenError::File {
            path: directory.clone(),
            source,
        };
        let made = DirBuilder::new()
            .mode(0o700)
            .recursive(true)
            .create(&directory);
        made.map_err(failed)?;
        let lock = File::create(directory.join("lock")).map_err(failed)?;
        if lock.try_lock().is_err() {
            return Err(OpenError::InUse(directory));
        }
        let numbers = segment::numbers(&directory).map_err(failed)?;
        let mut kept = BTreeMap::new();
        let saved = OpenRequests::load(&directory);
        // So that it has its room before the disk is full.
        saved.save(&directory).map_err(failed)?;
        let mut open = saved.clone();
        for number in &numbers {
            let about = fs::metadata(segment::path(&directory, *number)).map_err(failed)?;
            kept.insert(*number, about.len());
            // One without a whole header has no records.
            if let Err(error) = open.read(&directory, *number) {
                tracing::warn!(%error, number, "a segment of the audit spool cannot be read");
            }
        }
        let (header, torn) = end(&directory, &numbers).map_err(failed)?;
        let damaged = header.as_ref().filter(|_| torn > 0);
        let damaged = damaged.map(|header| (torn, header.seq));
        let is_same_boot = is_same_boot(&directory, &terms.boot);
        if let Some(header) = header.as_ref().filter(|_| !is_same_boot) {
            let mut ended = Ended::load(&directory);
            ended.push(&header.chain, header.seq);
            ended.save(&directory).map_err(failed)?;
        }
        let header = header.filter(|_| is_same_boot);
        let header = header.unwrap_or_else(|| Header::begin(chain.to_owned()));
        let number = numbers.last().map_or(1, |last| last + 1);
        let (file, len) = segment::create(&directory, number, &header).map_err(failed)?;
        replace(&directory.join(BOOT), terms.boot.as_bytes()).map_err(failed)?;
        let found = Found {
            aborted: open.into_starts(),
            damaged,
        };
        let spool = Self {
            // Small enough that what was handed on is given back soon.
            segment: (terms.max / 8).clamp(64 << 10, 16 << 20),
            chain: header.chain.clone(),
            noted: Mutex::new(Noted {
                chain: Chain::at(header.chain, header.seq, header.hash, replica),
                lines: Vec::new(),
            }),
            active: Mutex::new(Active {
                file,
                len,
                lines: Vec::new(),
                seq: header.seq,
                hash: header.hash,
                dirty: false,
                full: Vec::new(),
            }),
            written: AtomicU64::new(header.seq),
            number: AtomicU64::new(number),
            bytes: AtomicU64::new(kept.values().sum::<u64>() + len),
            kept: Mutex::new(kept),
            open: Mutex::new(saved),
            left: AtomicUsize::new(0),
            failed: AtomicBool::new(false),
            lost: AtomicU64::new(0),
            terms,
            _lock: lock,
        };
        Ok((spool, found))
    }

    /// Notes that something happened. `now` is in milliseconds since 1970.
    pub(crate) fn note<E: Event + ?Sized>(&self, event: &E, now: u64) -> Mark {
        let most = match event.name() {
            "request.prompt" => HELD_WITH_PROMPTS.saturating_sub(self.left.load(Relaxed)),
            _ => HELD,
        };
        self.append(most, |chain, lines| chain.append(event, now, lines))
    }

    /// Notes a checkpoint; answers with its number.
    pub(crate) fn sign(&self, key: &SigningKey, now: u64) -> Option<u64> {
        self.append(HELD, |chain, lines| key.sign(chain, now, lines))
            .0
    }

    /// The number of the last record that was noted.
    pub(crate) fn noted(&self) -> u64 {
        lock(&self.noted).chain.seq
    }

    /// Unless so many bytes wait already.
    fn append(&self, most: usize, write: impl FnOnce(&mut Chain, &mut Vec<u8>)) -> Mark {
        let mut noted = lock(&self.noted);
        let Noted { chain, lines } = &mut *noted;
        if lines.len() >= most {
            self.lost.fetch_add(1, Relaxed);
            return Mark(None);
        }
        let begin = segment::begin(lines);
        write(chain, lines);
        segment::frame(lines, begin);
        Mark(Some(chain.seq))
    }

    /// Has all up to this mark written, unless somebody else did.
    pub(crate) fn keep(&self, mark: Mark) -> Result<(), Unavailable> {
        let kept = match mark.0 {
            Some(seq) if self.written.load(Relaxed) >= seq => Ok(()),
            Some(seq) => {
                let mut active = lock(&self.active);
                match self.written.load(Relaxed) >= seq {
                    true => Ok(()),
                    false => self.write(&mut active),
                }
            }
            None => Err(Unavailable),
        };
        match self.terms.when_full {
            WhenFull::Refuse => kept,
            WhenFull::DropOldest => Ok(()),
        }
    }

    /// Has all written that was noted.
    pub(crate) fn keep_all(&self) -> Result<(), Unavailable> {
        self.write(&mut lock(&self.active))
    }

    fn write(&self, active: &mut Active) -> Result<(), Unavailable> {
        let mut noted = lock(&self.noted);
        // What is held already is much: it has to be written first.
        let is_full = active.lines.len() > HELD;
        if !is_full {
            match active.lines.is_empty() {
                true => std::mem::swap(&mut active.lines, &mut noted.lines),
                false => active.lines.append(&mut noted.lines),
            }
            (active.seq, active.hash) = (noted.chain.seq, noted.chain.hash);
        }
        drop(noted);
        if active.lines.is_empty() {
            return Ok(());
        }
        let (done, outcome) = write_all(&mut active.file, &active.lines);
        active.len += done as u64;
        active.dirty = true;
        self.bytes.fetch_add(done as u64, Relaxed);
        if let Err(error) = outcome {
            // What is left of a line goes on where it stopped.
            active.lines.drain(..done);
            self.left.store(active.lines.len(), Relaxed);
            if !self.failed.swap(true, Relaxed) {
                tracing::error!(%error, "the audit spool cannot be written to; make room on the disk");
            }
            return Err(Unavailable);
        }
        self.left.store(0, Relaxed);
        active.lines.clear();
        active.lines.shrink_to(SPARE);
        self.written.store(active.seq, Relaxed);
        if self.failed.swap(false, Relaxed) {
            tracing::info!("the audit spool is written to again");
        }
        if active.len >= self.segment {
            self.rotate(active);
        }
        match is_full {
            true => self.write(active),
            false => Ok(()),
        }
    }

    /// Begins a new segment. Where that fails the one so far goes on.
    fn rotate(&self, active: &mut Active) {
        let number = self.number.load(Relaxed);
        let header = Header {
            chain: self.chain.clone(),
            seq: active.seq,
            hash: active.hash,
        };
        match segment::create(&self.terms.directory, number + 1, &header) {
            Ok((file, len)) => {
                let before = std::mem::replace(&mut active.file, file);
                active.full.push(before);
                lock(&self.kept).insert(number, active.len);
                active.len = len;
                self.bytes.fetch_add(len, Relaxed);
                self.number.store(number + 1, Relaxed);
            }
            Err(error) => {
                tracing::warn!(%error, "no new segment of the audit spool could be begun");
            }
        }
    }

    /// Brings what was written to the disk itself.
    pub(crate) fn sync(&self) {
        let (mut files, is_rotated) = {
            let mut active = lock(&self.active);
            let mut files = std::mem::take(&mut active.full);
            let is_rotated = !files.is_empty();
            if std::mem::take(&mut active.dirty) {
                files.extend(active.file.try_clone());
            }
            (files, is_rotated)
        };
        // That there is a segment is written in the directory.
        if is_rotated {
            files.extend(File::open(&self.terms.directory));
        }
        for file in files {
            if let Err(error) = file.sync_data() {
                tracing::warn!(%error, "the audit spool was not synced");
            }
        }
    }

    /// Removes the segments before this one, which all sinks have passed; and where the spool is too
    /// large and may drop, the oldest there are.
    pub(crate) fn tidy(&self, passed: u64) {
        loop {
            // Who writes a segment to its end waits for this lock, and calls wait for who writes.
            let oldest = lock(&self.kept)
                .first_key_value()
                .map(|(n, len)| (*n, *len));
            let Some((number, len)) = oldest else {
                return;
            };
            let drops = self.terms.when_full == WhenFull::DropOldest;
            let is_too_large = drops && self.bytes.load(Relaxed) > self.terms.max;
            if number >= passed && !is_too_large {
                return;
            }
            let directory = &self.terms.directory;
            let mut open = lock(&self.open);
            let read = open.read(directory, number);
            let saved = read.and_then(|()| open.save(directory));
            drop(open);
            let removed = saved.and_then(|()| fs::remove_file(segment::path(directory, number)));
            match removed {
                Err(error)
                    if error.kind() != io::ErrorKind::NotFound
                        && error.kind() != io::ErrorKind::InvalidData =>
                {
                    tracing::warn!(%error, number, "a segment of the audit spool stays");
                    return;
                }
                _ => {
                    let _ = fs::remove_file(segment::path(directory, number));
                }
            }
            lock(&self.kept).remove(&number);
            self.bytes.fetch_sub(len, Relaxed);
        }
    }

    /// Whether calls are refused now.
    pub(crate) fn refuses(&self) -> bool {
        self.terms.when_full == WhenFull::Refuse
            && (self.failed.load(Relaxed) || self.bytes.load(Relaxed) >= self.terms.max)
    }

    /// The chain that is written.
    pub(crate) fn chain(&self) -> &str {
        &self.chain
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.terms.directory
    }

    /// The number of the segment that is written to.
    pub(crate) fn number(&self) -> u64 {
        self.number.load(Relaxed)
    }

    /// The number of the last record that is written.
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Relaxed)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// As many bytes as it may have.
    pub(crate) fn most(&self) -> u64 {
        self.terms.max
    }

    /// Writes to this file from now on; answers with the one so far.
    #[cfg(test)]
    pub(crate) fn divert(&self, file: File) -> File {
        std::mem::replace(&mut lock(&self.active).file, file)
    }

    /// Bytes of memory.
    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        lock(&self.active).lines.capacity() + lock(&self.noted).lines.capacity()
    }

    /// Records that there was no room for, not even in memory.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }
}

/// In which start of the machine the spool was opened last.
const BOOT: &str = "boot";

/// Whether the machine was not started anew since the spool was open; also where nobody can tell.
fn is_same_boot(directory: &Path, boot: &str) -> bool {
    let before = fs::read_to_string(directory.join(BOOT)).unwrap_or_default();
    before.trim_end().is_empty() || boot.is_empty() || before.trim_end() == boot
}

/// As much as the file takes.
fn write_all(file: &mut File, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut done = 0;
    while done < bytes.len() {
        match file.write(&bytes[done..]) {
            Ok(0) => return (done, Err(io::ErrorKind::StorageFull.into())),
            Ok(wrote) => done += wrote,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (done, Err(error)),
        }
    }
    (done, Ok(()))
}

/// Where the chain ends that the segments have, and how many bytes behind its last record are none.
fn end(directory: &Path, numbers: &[u64]) -> io::Result<(Option<Header>, u64)> {
    let mut torn = 0;
    for number in numbers.iter().rev() {
        let (mut header, mut lines) = match Lines::open(directory, *number) {
            Ok(opened) => opened,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => continue,
            Err(error) => return Err(error),
        };
        while let Some(line) = lines.next()? {
            match line {
                Ok(record) => {
                    if let (Some(seq), Some(hash)) = (seq_of(record), stated_hash(record)) {
                        (header.seq, header.hash, torn) = (seq, hash, 0);
                    }
                }
                Err(len) => torn += len,
            }
        }
        return Ok((Some(header), torn + lines.torn()));
    }
    Ok((None, torn))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
