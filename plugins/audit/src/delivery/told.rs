//! Which records of a chain were told to be missing.

use std::ops::Range;

/// Their numbers, in their order; between two ranges there is a record that is not missing.
#[derive(Default)]
pub(super) struct Told(Vec<Range<u64>>);

impl Told {
    /// The first of these that were not told before, as many as there are in a row. They are told now.
    pub(super) fn tell(&mut self, all: Range<u64>) -> Option<Range<u64>> {
        let Self(told) = self;
        let mut missing = all;
        for range in &*told {
            if range.end <= missing.start {
                continue;
            }
            if range.start > missing.start {
                missing.end = missing.end.min(range.start);
                break;
            }
            missing.start = range.end;
        }
        if missing.is_empty() {
            return None;
        }
        let mut range = missing.clone();
        // Those that it touches are one with it.
        told.retain(|other| {
            let touches = other.end >= range.start && other.start <= range.end;
            if touches {
                range = range.start.min(other.start)..range.end.max(other.end);
            }
            !touches
        });
        let at = told.partition_point(|other| other.start < range.start);
        told.insert(at, range);
        Some(missing)
    }

    /// Nobody asks about this one any more, nor about those before it.
    pub(super) fn forget(&mut self, seq: u64) {
        self.0.retain(|range| range.end > seq + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(told: &Told) -> Vec<(u64, u64)> {
        let ranges = told.0.iter();
        ranges.map(|range| (range.start, range.end)).collect()
    }

    #[test]
    fn each_is_told_once_whatever_was_told_around_it() {
        let mut told = Told::default();
        assert_eq!(told.tell(10..20), Some(10..20));
        assert_eq!(told.tell(30..40), Some(30..40));
        assert_eq!(told.tell(10..20), None);
        assert_eq!(told.tell(32..38), None);
        assert_eq!(told.tell(5..50), Some(5..10));
        assert_eq!(told.tell(10..50), Some(20..30));
        assert_eq!(told.tell(30..50), Some(40..50));
        assert_eq!(told.tell(5..50), None);
        assert_eq!(ranges(&told), [(5, 50)]);
        assert_eq!(told.tell(60..61), Some(60..61));
        told.forget(49);
        assert_eq!(ranges(&told), [(60, 61)]);
    }
}
