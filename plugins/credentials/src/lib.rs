//! Upstream credentials: one file a selection strategy; and the files that hold credentials.

mod directory;
mod file;
mod priority;
mod round_robin;
mod service_account;

use std::sync::Arc;

use turnpike_api::{Row, Selector};

pub use directory::{CredentialDirectory, Entry, Policy, Scan};
pub use file::{CredentialFile, FileError, FileQuota, Material, ModelAlias, parse};
pub use priority::Priority;
pub use round_robin::RoundRobin;
pub use service_account::{GrantError, Minted, ServiceAccount, TokenRequest, read_token};

/// The strategies, by the name configuration gives them.
pub const SELECTORS: &[Row<dyn Selector, ()>] = &[
    Row {
        kind: "round_robin",
        build: |()| Arc::new(RoundRobin),
    },
    Row {
        kind: "priority",
        build: |()| Arc::new(Priority),
    },
];
