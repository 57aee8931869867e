//! What survives a restart and what replicas share: one folder a store.
//!
//! [`Embedded`] is a SQLite file and journals beside it, for a single node; `docs/store.md`
//! describes its files and tables. [`Redis`] has records, claims and news for many nodes, and what is
//! drawn of limits; [`Shared`] makes a whole store of it, with each node's own counters.

mod embedded;
mod redis;
mod shared;

pub use self::embedded::{Embedded, OpenError};
pub use self::redis::{ClientCertificate, Options, Redis, Servers, SetupError};
pub use self::shared::Shared;
