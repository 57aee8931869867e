//! What was noted and is not written yet. A write costs far more than a note, so the lines of calls
//! that end together go into the journal with one.

use std::cell::Cell;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use turnpike_api::{Entry, Mark, StoreError};

use super::line;

/// Threads note on pages of their own, as far as these go round.
const PAGES: u64 = 16;

pub(super) struct Notes {
    pages: [Page; PAGES as usize],
}

/// Apart from its neighbours in memory: a thread does not wait for the notes of another.
#[derive(Default)]
#[repr(align(128))]
struct Page(Mutex<Lines>);

/// Lines are counted from one on.
#[derive(Default)]
struct Lines {
    /// Those that are not written.
    text: Vec<u8>,
    noted: u64,
    /// Up to here they were written, or a write of them failed.
    done: u64,
    /// Those of the last writes that failed, one after the other, and why the last did.
    lost: Option<(RangeInclusive<u64>, String)>,
}

impl Notes {
    pub(super) fn new() -> Self {
        Self {
            pages: std::array::from_fn(|_| Page::default()),
        }
    }

    pub(super) fn note(&self, entry: &Entry<'_>) -> Mark {
        let nth = nth_page();
        let mut page = self.pages[nth as usize].lines();
        line::encode(entry, &mut page.text);
        page.noted += 1;
        Mark(page.noted * PAGES + nth)
    }

    /// Writes what is on the page of `mark`, unless somebody else did meanwhile.
    pub(super) fn keep(
        &self,
        Mark(mark): Mark,
        write: impl FnOnce(&[u8]) -> Result<(), String>,
    ) -> Result<(), StoreError> {
        let number = mark / PAGES;
        let mut page = self.pages[(mark % PAGES) as usize].lines();
        if page.done < number {
            page.write(write);
        }
        match &page.lost {
            Some((lines, why)) if lines.contains(&number) => {
                Err(StoreError::Unavailable(why.clone()))
            }
            _ => Ok(()),
        }
    }

    /// Writes everything that was noted up to now.
    pub(super) fn keep_all(&self, write: impl Fn(&[u8]) -> Result<(), String>) {
        for page in &self.pages {
            page.lines().write(&write);
        }
    }
}

impl Page {
    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lines {
    fn write(&mut self, write: impl FnOnce(&[u8]) -> Result<(), String>) {
        if self.text.is_empty() {
            return;
        }
        if let Err(why) = write(&self.text) {
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
    use std::cell::RefCell;

    use turnpike_api::{Payer, Usage};

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

    #[test]
    fn one_write_keeps_what_was_noted_by_then() {
        let notes = Notes::new();
        let writes = RefCell::new(Vec::new());
        let write = |lines: &[u8]| {
            let lines = String::from_utf8_lossy(lines).into_owned();
            writes.borrow_mut().push(lines);
            Ok(())
        };
        let marks = ["one", "two", "three"].map(|model| notes.note(&entry(model)));
        for mark in marks {
            notes.keep(mark, write).unwrap();
        }
        notes.keep_all(write);
        assert_eq!(writes.borrow().len(), 1);
        let at = ["one", "two", "three"].map(|model| writes.borrow()[0].find(model).unwrap());
        assert!(at.is_sorted());

        let later = notes.note(&entry("four"));
        notes.keep_all(write);
        notes.keep(later, write).unwrap();
        assert_eq!(writes.borrow().len(), 2);
        assert!(writes.borrow()[1].contains("four") && !writes.borrow()[1].contains("three"));
    }

    #[test]
    fn everybody_is_told_of_the_write_that_lost_his_own() {
        let notes = Notes::new();
        let full = |_: &[u8]| Err("the disk is full".to_owned());
        let good = |_: &[u8]| Ok(());
        let before = notes.note(&entry("before"));
        notes.keep(before, good).unwrap();
        let lost = ["one", "two"].map(|model| notes.note(&entry(model)));
        let refused = notes.keep(lost[0], full).unwrap_err();
        assert!(refused.to_string().contains("the disk is full"));
        let third = notes.note(&entry("three"));
        assert!(notes.keep(third, full).is_err());
        let after = notes.note(&entry("after"));
        notes.keep(after, good).unwrap();
        assert!(notes.keep(lost[1], good).is_err());
        notes.keep(before, good).unwrap();
    }
}
