//! The section `audit`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Size;

/// What happened, on record. It is read at the start; a change takes a restart.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Audit {
    /// Keep a record of every call, login, decision and change.
    pub(crate) enabled: bool,
    pub(crate) spool: AuditSpool,
    /// Where records go.
    pub(crate) sinks: Vec<AuditSink>,
}

/// Where records wait until all sinks have them.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct AuditSpool {
    /// A directory, relative to that of the database; it is made when it does not exist.
    pub(crate) path: String,
    /// How large it may get; at least 1MiB.
    pub(crate) max: Size,
    /// When it is full: `refuse` calls, or `drop_oldest` and count.
    pub(crate) when_full: WhenSpoolFull,
}

#[derive(Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WhenSpoolFull {
    #[default]
    Refuse,
    DropOldest,
}

/// A place that records go to.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AuditSink {
    /// `file`, or `stdout`.
    pub(crate) kind: AuditSinkKind,
    /// Of a `file`: relative to the directory of the database.
    #[serde(default)]
    pub(crate) path: Option<String>,
    #[serde(default)]
    pub(crate) format: AuditFormat,
    /// Of a `file`: how large it may get before it is renamed to `PATH.1`.
    #[serde(default)]
    pub(crate) max_size: Option<Size>,
    /// Of a `file`: how many renamed ones are kept. The oldest is removed.
    #[serde(default)]
    #[schemars(range(max = 100_000))]
    pub(crate) keep: Option<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AuditSinkKind {
    File,
    Stdout,
}

/// How a record is written.
#[derive(Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AuditFormat {
    #[default]
    Json,
}

impl Default for Audit {
    fn default() -> Self {
        Self {
            enabled: true,
            spool: AuditSpool::default(),
            sinks: vec![AuditSink {
                kind: AuditSinkKind::File,
                path: Some("audit.jsonl".into()),
                format: AuditFormat::default(),
                max_size: None,
                keep: None,
            }],
        }
    }
}

impl Default for AuditSpool {
    fn default() -> Self {
        Self {
            path: "audit-spool".into(),
            max: Size(1 << 30),
            when_full: WhenSpoolFull::default(),
        }
    }
}
