//! Upstream credentials: the files that hold them, one file a selection strategy, and how long a
//! failing one stays away.

mod cooldown;
mod directory;
mod file;
mod fill_first;
mod priority;
mod quota_aware;
mod round_robin;
mod service_account;
#[cfg(test)]
mod tier;
mod weighted;

use std::sync::Arc;

use turnpike_api::{Row, Selector};

pub use cooldown::{BackOff, Cooldown, Phase};
pub use directory::{
    CredentialDirectory, Entry, Policy, ReadError, Scan, WriteLock, add_file, open_file,
    remove_file, replace_file, seal_file,
};
pub use file::{CredentialFile, Edit, FileError, FileQuota, Material, ModelAlias, edit, parse};
pub use fill_first::FillFirst;
pub use priority::Priority;
pub use quota_aware::QuotaAware;
pub use round_robin::RoundRobin;
pub use service_account::{GrantError, Minted, ServiceAccount, TokenRequest, read_token};
pub use weighted::Weighted;

/// The strategies, by the name configuration gives them.
pub const SELECTORS: &[Row<dyn Selector, ()>] = &[
    Row {
        kind: "round_robin",
        build: |()| Arc::new(RoundRobin),
    },
    Row {
        kind: "fill_first",
        build: |()| Arc::new(FillFirst),
    },
    Row {
        kind: "priority",
        build: |()| Arc::new(Priority),
    },
    Row {
        kind: "quota_aware",
        build: |()| Arc::new(QuotaAware),
    },
    Row {
        kind: "weighted",
        build: |()| Arc::new(Weighted),
    },
];
