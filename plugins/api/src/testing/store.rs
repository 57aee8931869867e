//! What every store keeps to, whatever it keeps things in.

mod bulletin;
mod directory;
mod draws;
mod ledger;

use std::time::Duration;

use crate::Store;

/// A store to be tested, and how to come by it.
pub trait StoreBench {
    /// A store that holds nothing.
    fn open(&self) -> Box<dyn Store>;

    /// The same store after it was closed and opened again, as by a gateway that restarts.
    fn reopen(&self, store: Box<dyn Store>) -> Box<dyn Store>;

    /// What another process opens while `open`'s is in use. It need not take entries.
    fn beside(&self) -> Box<dyn Store>;

    /// Lets time pass, for every store of this bench.
    fn advance(&self, by: Duration);
}

/// Checks a store: counters, records, claims and notices, by one and by two who use it, and over
/// a restart.
pub fn conforming_store(bench: &dyn StoreBench) {
    ledger::conforming(bench);
    draws::conforming(bench);
    directory::conforming(bench);
    bulletin::conforming(bench);
}

/// Checks the records and claims alone, of a store whose counters are another's.
pub fn conforming_directory(bench: &dyn StoreBench) {
    directory::conforming(bench);
}

/// Checks the notices alone, likewise.
pub fn conforming_bulletin(bench: &dyn StoreBench) {
    bulletin::conforming(bench);
}
