//! What was noted, added up while it is noted: the lines of a process that goes on need not be read
//! again to be folded.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};
use turnpike_api::{Entry, Used};

use super::line;
use super::sums::{Key, Sums, day};

/// As many sums a thread keeps at most, of some 300 bytes each. Between two folds there are seldom as
/// many callers; with a database that cannot be written there may be any number.
pub(super) const MOST: usize = 4096;

/// What the lines of one page in one journal come to.
#[derive(Default)]
pub(super) struct Tally {
    hasher: DefaultHashBuilder,
    sums: HashTable<Sum>,
    /// There were more than it keeps: the journal has to be read.
    overflown: bool,
}

struct Sum {
    day: u32,
    period: u64,
    /// The texts of a line, as it has them: one piece to hash, to compare and to keep.
    texts: Box<[u8]>,
    used: Used,
}

impl Tally {
    /// Adds an entry whose line has these texts.
    pub(super) fn add(&mut self, entry: &Entry<'_>, texts: &[u8]) {
        let (day, period) = (day(entry.at), entry.period);
        let hash = self.hasher.hash_one((day, period, texts));
        let is_it = |sum: &Sum| sum.period == period && sum.day == day && *sum.texts == *texts;
        match self.sums.find_mut(hash, is_it) {
            Some(sum) => sum.used.add_up(&entry.used()),
            None => self.begin(hash, entry, texts),
        }
    }

    #[cold]
    fn begin(&mut self, hash: u64, entry: &Entry<'_>, texts: &[u8]) {
        if self.sums.len() == MOST {
            self.overflown = true;
            return;
        }
        let sum = Sum {
            day: day(entry.at),
            period: entry.period,
            texts: texts.into(),
            used: entry.used(),
        };
        let hasher = &self.hasher;
        self.sums.insert_unique(hash, sum, |sum| {
            hasher.hash_one((sum.day, sum.period, &*sum.texts))
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sums.is_empty()
    }

    /// Adds it to `sums`. `None` when it does not have all.
    fn pour(&self, sums: &mut Sums) -> Option<()> {
        if self.overflown {
            return None;
        }
        for sum in &self.sums {
            let texts = line::texts(str::from_utf8(&sum.texts).ok()?)?;
            let key = Key {
                day: sum.day,
                texts,
            };
            sums.add_sum(&key, sum.period, &sum.used);
        }
        Some(())
    }
}

/// What all of these come to. `None` when only the journal has all.
pub(super) fn total(tallies: &[Tally]) -> Option<Sums> {
    let mut sums = Sums::default();
    for tally in tallies {
        tally.pour(&mut sums)?;
    }
    Some(sums)
}
