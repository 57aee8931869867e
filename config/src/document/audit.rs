//! The section `audit`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{SecretText, Size};

/// What happened, on record. It is read at the start, and a change takes a restart, where nothing else is said.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Audit {
    /// Keep a record of every call, login, decision and change.
    pub(crate) enabled: bool,
    pub(crate) spool: AuditSpool,
    pub(crate) usage: AuditUsage,
    /// Where records go.
    pub(crate) sinks: Vec<AuditSink>,
    /// Headers in which callers say who they are, as far as nobody checks it: on record as `claimed`,
    /// used for nothing, and told to no provider. At most 16; a change counts at once.
    pub(crate) claimed_headers: Vec<String>,
    pub(crate) prompts: AuditPrompts,
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

/// What callers say to models, on record too. What looks like a credential, a key, an address or a card is
/// left out. A change counts at once.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct AuditPrompts {
    /// Of callers of all tenants that do not say otherwise.
    pub(crate) enabled: bool,
    /// As much of each is kept.
    #[schemars(range(min = 1, max = 262_144))]
    pub(crate) max_bytes: u32,
}

/// The stream `usage`: a record of what each call used. It is written where a sink is of it. When its
/// spool is full the oldest records are dropped and counted; no call waits for it, and none is refused.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct AuditUsage {
    /// How large its spool may get, which is `usage` in that of the audit; at least 1MiB.
    pub(crate) max: Size,
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
    /// Each kind has keys of its own.
    pub(crate) kind: AuditSinkKind,
    /// `audit` is what happened, and at least one sink is of it; `usage` is what each call used.
    #[serde(default)]
    pub(crate) stream: AuditStream,
    /// `json` is the record itself; `ocsf` is OCSF 1.8.0.
    #[serde(default)]
    pub(crate) format: AuditFormat,
    /// Of a `file`: relative to the directory of the database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) path: Option<String>,
    /// Of a `file`: how large it may get before it is renamed to `PATH.1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) max_size: Option<Size>,
    /// Of a `file`: how many renamed ones are kept. The oldest is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 100_000))]
    pub(crate) keep: Option<u32>,
    /// Of `syslog`: `tls://host:port`, or `tcp://host:port` in clear text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) address: Option<String>,
    /// Of `syslog`, where `address` begins with `tls://`. Paths are relative to this file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tls: Option<AuditTls>,
    /// Of a `webhook`: where batches are posted. Of `splunk_hec`: where the collector is, such as
    /// `https://splunk:8088`. Of `otlp`: a base URL, to which `/v1/logs` is appended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) url: Option<String>,
    /// Of a `webhook`: what batches are signed with. A change counts at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) secret: Option<SecretText>,
    /// Of `splunk_hec`: the collector's. Of a `webhook` and of `otlp`: sent as `Authorization:
    /// Bearer`, where it is given. A change counts at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) token: Option<SecretText>,
    /// Of `splunk_hec`: the index; the default is the token's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) index: Option<String>,
    /// Of `splunk_hec`: a record is Splunk's when it says that it has indexed it, for which the token must
    /// have indexer acknowledgement switched on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) acknowledge: Option<bool>,
}

/// How a receiver is known, and what the gateway shows of itself.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct AuditTls {
    /// PEM, the authorities of the receiver's certificate; the default is the system's and `egress.ca_file`.
    pub(crate) ca_file: Option<String>,
    /// PEM, the certificate that the gateway shows, and its chain.
    pub(crate) cert: Option<String>,
    /// PEM, the key of `cert`.
    pub(crate) key: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AuditSinkKind {
    File,
    Stdout,
    Syslog,
    Webhook,
    SplunkHec,
    Otlp,
}

/// Which records.
#[derive(Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AuditStream {
    #[default]
    Audit,
    Usage,
}

/// How a record is written.
#[derive(Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AuditFormat {
    #[default]
    Json,
    Ocsf,
    Cef,
    Ecs,
}

impl AuditSink {
    /// Of which nothing is said.
    pub(crate) fn of(kind: AuditSinkKind) -> Self {
        Self {
            kind,
            stream: AuditStream::default(),
            format: AuditFormat::default(),
            path: None,
            max_size: None,
            keep: None,
            address: None,
            tls: None,
            url: None,
            secret: None,
            token: None,
            index: None,
            acknowledge: None,
        }
    }
}

impl Default for Audit {
    fn default() -> Self {
        Self {
            enabled: true,
            spool: AuditSpool::default(),
            usage: AuditUsage::default(),
            sinks: vec![AuditSink {
                path: Some("audit.jsonl".into()),
                ..AuditSink::of(AuditSinkKind::File)
            }],
            claimed_headers: vec!["X-User-ID".into(), "X-Department".into()],
            prompts: AuditPrompts::default(),
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

impl Default for AuditUsage {
    fn default() -> Self {
        Self {
            max: Size(256 << 20),
        }
    }
}

impl Default for AuditPrompts {
    fn default() -> Self {
        Self {
            enabled: false,
            max_bytes: 16_384,
        }
    }
}
