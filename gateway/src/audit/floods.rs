//! Refusals, which anybody can bring about, or a program that does not give up: so many a second are told
//! one by one; the others are counted, and told with the next.

use std::sync::{Mutex, PoisonError};

/// Of which `MOST` a second are told.
#[derive(Default)]
pub(super) struct Flood<const MOST: u32>(Mutex<Count>);

#[derive(Default)]
struct Count {
    second: u64,
    told: u32,
    untold: u64,
}

impl<const MOST: u32> Flood<MOST> {
    /// Whether one that comes now is told, and how many before were not. `now` is in milliseconds.
    pub(super) fn may_tell(&self, now: u64) -> Option<u64> {
        let mut count = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if count.second != now / 1000 {
            (count.second, count.told) = (now / 1000, 0);
        }
        if count.told >= MOST {
            count.untold += 1;
            return None;
        }
        count.told += 1;
        Some(std::mem::take(&mut count.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_a_flood_are_counted() {
        let flood = Flood::<100>::default();
        let told = (0..1000).filter_map(|_| flood.may_tell(5_000));
        assert_eq!(told.collect::<Vec<_>>(), [0; 100]);
        assert_eq!(flood.may_tell(6_000), Some(900));
        assert_eq!(flood.may_tell(6_001), Some(0));
    }
}
