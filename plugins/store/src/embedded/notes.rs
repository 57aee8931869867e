//! What was noted and is not written yet, and what all that was noted comes to. A write costs far
//! more than a note, so the lines of calls that end together go into the journal with one.

use std::cell::Cell;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use turnpike_api::{Entry, Mark, StoreError};

use super::journal::Segment;
use super::line;
use super::tally::Tally;

/// Threads note on pages of their own, as far as these go round.
const PAGES: u64 = 16;

pub(super) struct Notes {
    pages: [Page; PAGES as usize],
}

/// Apart from its neighbours in memory: a thread does not wait for the notes of another.
#[repr(align(128))]
struct Page(Mutex<Lines>);

/// Lines are counted from one on.
struct Lines {
    /// Where they are written to.
    segment: Arc<Segment>,
    /// What all come to that are, or will be, written to that one.
    tally: Tally,
    /// Those that are not written.
    text: Vec<u8>,
    noted: u64,
    /// Up to here they were written, or a write of them failed.
    done: u64,
    /// Those of the last writes that failed, one after the other, and why the last did.
    lost: Option<(RangeInclusive<u64>, String)>,
}

impl Notes {
    /// All that is noted is written to `segment`, until they [`turn`](Self::turn).
    pub(super) fn new(segment: &Arc<Segment>) -> Self {
        Self {
            pages: std::array::from_fn(|_| Page(Mutex::new(Lines::new(segment)))),
        }
    }

    pub(super) fn note(&self, entry: &Entry<'_>) -> Mark {
        let nth = nth_page();
        let mut page = self.pages[nth as usize].lines();
        page.add(entry);
        Mark(page.noted * PAGES + nth)
    }

    /// Writes what is on the page of `mark`, unless somebody else did meanwhile.
    pub(super) fn keep(&self, Mark(mark): Mark) -> Result<(), StoreError> {
        let number = mark / PAGES;
        let mut page = self.pages[(mark % PAGES) as usize].lines();
        if page.done < number {
            page.write();
        }
        match &page.lost {
            Some((lines, why)) if lines.contains(&number) => {
                Err(StoreError::Unavailable(why.clone()))
            }
            _ => Ok(()),
        }
    }

    /// Whether nothing was noted since they turned last.
    pub(super) fn are_blank(&self) -> bool {
        self.pages.iter().all(|page| page.lines().tally.is_empty())
    }

    /// Where all is written to, unless they are turning.
    pub(super) fn segment(&self) -> Arc<Segment> {
        self.pages[0].lines().segment.clone()
    }

    /// Writes what was noted up to now; what is noted from now on is written to `next`. Answers with
    /// what was noted for the segment so far, page by page.
    ///
    /// Each page turns by itself, so that nobody waits for more than one: its lines of before and its
    /// tally of before are of the same entries, whatever happens on others meanwhile.
    pub(super) fn turn(&self, next: &Arc<Segment>) -> Vec<Tally> {
        let pages = self.pages.iter();
        pages.map(|page| page.lines().turn(next)).collect()
    }
}

impl Page {
    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lines {
    fn new(segment: &Arc<Segment>) -> Self {
        Self {
            segment: segment.clone(),
            tally: Tally::default(),
            text: Vec::new(),
            noted: 0,
            done: 0,
            lost: None,
        }
    }

    fn add(&mut self, entry: &Entry<'_>) {
        let texts = line::encode(entry, &mut self.text);
        self.tally.add(entry, texts);
        self.noted += 1;
    }

    fn turn(&mut self, next: &Arc<Segment>) -> Tally {
        self.write();
        self.segment = next.clone();
        std::mem::take(&mut self.tally)
    }

    /// Lines that could not be written are in the tally all the same: they are counted, unless the
    /// process ends first or the tally overflows.
    fn write(&mut self) {
        if self.text.is_empty() {
            return;
        }
        if let Err(why) = self.segment.append(&self.text) {
            let from = match &self.lost {
                // The disk is still full.
                Some((lines, _)) if *lines.end() == self.done => *lines.start(),
                _ => self.done + 1,
            };
            self.lost = Some((from..=self.noted, why));
        }
        self.done = self.noted;
        self.text.clear();
    }
}

/// The page of this thread.
fn nth_page() -> u64 {
    static THREADS: AtomicU64 = AtomicU64::new(0);
    thread_local!(static NTH: Cell<Option<u64>> = const { Cell::new(None) });
    NTH.get().unwrap_or_else(|| {
        let nth = THREADS.fetch_add(1, Ordering::Relaxed) % PAGES;
        NTH.set(Some(nth));
        nth
    })
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::path::{Path, PathBuf};

    use turnpike_api::{Payer, Usage};

    use super::super::tally;
    use super::*;

    fn entry(model: &str) -> Entry<'_> {
        Entry {
            payer: Payer::default(),
            credential: "a",
            model,
            at: 1,
            period: 1,
            usage: Usage::default(),
            cost: None,
            estimated: false,
            calls: 1,
        }
    }

    fn segment(path: PathBuf) -> Arc<Segment> {
        let mut options = OpenOptions::new();
        let file = options.create(true).append(true).open(&path).unwrap();
        Arc::new(Segment { seq: 1, path, file })
    }

    /// The models that lines of a file name, in their order.
    fn models(path: &Path) -> Vec<String> {
        let text = fs::read_to_string(path).unwrap();
        let lines = text.lines().filter(|line| !line.is_empty());
        let model = |line: &str| line.split('\t').nth(2).unwrap().to_owned();
        lines.map(model).collect()
    }

    fn calls(tallies: &[Tally]) -> u64 {
        tally::total(tallies).unwrap().spent_of("a", 1).calls
    }

    #[test]
    fn one_write_keeps_what_was_noted_by_then() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("1");
        let notes = Notes::new(&segment(path.clone()));
        let marks = ["one", "two", "three"].map(|model| notes.note(&entry(model)));
        assert_eq!(models(&path), [""; 0]);
        for mark in marks {
            notes.keep(mark).unwrap();
            assert_eq!(models(&path), ["one", "two", "three"]);
        }
        let later = notes.note(&entry("four"));
        assert_eq!(models(&path).len(), 3);
        notes.keep(later).unwrap();
        assert_eq!(models(&path), ["one", "two", "three", "four"]);
    }

    #[test]
    fn what_was_noted_before_they_turn_is_of_the_segment_before() {
        let directory = tempfile::tempdir().unwrap();
        let [first, second] = ["1", "2"].map(|name| directory.path().join(name));
        let notes = Notes::new(&segment(first.clone()));
        assert!(notes.are_blank());
        let marks = ["one", "two"].map(|model| notes.note(&entry(model)));
        assert!(!notes.are_blank());
        assert_eq!(calls(&notes.turn(&segment(second.clone()))), 2);
        assert!(notes.are_blank());
        assert_eq!(models(&first), ["one", "two"]);

        let later = notes.note(&entry("three"));
        for mark in marks.into_iter().chain([later]) {
            notes.keep(mark).unwrap();
        }
        assert_eq!(
            (models(&first).len(), models(&second)),
            (2, vec!["three".to_owned()])
        );
        assert_eq!(calls(&notes.turn(&segment(first))), 1);
    }

    #[test]
    fn everybody_is_told_of_the_write_that_lost_his_own() {
        let directory = tempfile::tempdir().unwrap();
        let good = segment(directory.path().join("1"));
        let notes = Notes::new(&good);
        let before = notes.note(&entry("before"));
        notes.keep(before).unwrap();
        notes.turn(&segment("/dev/full".into()));
        let lost = ["one", "two"].map(|model| notes.note(&entry(model)));
        let refused = notes.keep(lost[0]).unwrap_err().to_string();
        assert!(refused.contains("/dev/full: No space left"), "{refused}");
        let third = notes.note(&entry("three"));
        assert!(notes.keep(third).is_err());
        assert_eq!(
            calls(&notes.turn(&good)),
            3,
            "counted, for as long as it runs"
        );
        let after = notes.note(&entry("after"));
        notes.keep(after).unwrap();
        assert!(notes.keep(lost[1]).is_err());
        notes.keep(before).unwrap();
    }
}
