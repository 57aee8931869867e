//! What survives a restart and what replicas share: one folder a store.
//!
//! There is one so far, [`Embedded`]: a SQLite file and journals beside it, for a single node.
//! `docs/store.md` describes its files and tables.

mod embedded;

pub use embedded::{Embedded, OpenError};
