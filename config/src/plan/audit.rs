//! What is on record, and where it goes.

use std::path::PathBuf;

/// What becomes of what happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditPlan {
    /// A directory.
    pub spool: PathBuf,
    /// Bytes.
    pub max: u64,
    /// When there is no room: calls are refused, or the oldest records dropped.
    pub refuse: bool,
    /// Never empty; each once.
    pub sinks: Vec<AuditSinkPlan>,
}

/// Where records go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditSinkPlan {
    File {
        path: PathBuf,
        /// Bytes after which it is renamed.
        max: u64,
        /// How many renamed ones are kept.
        keep: u32,
    },
    Stdout,
}

impl AuditSinkPlan {
    /// Whether both put records into the same place.
    pub(crate) fn is_where(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::File { path: one, .. }, Self::File { path: other, .. }) => one == other,
            (Self::Stdout, Self::Stdout) => true,
            _ => false,
        }
    }
}
