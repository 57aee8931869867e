//! What is on record, and where it goes.

use std::path::PathBuf;

use turnpike_api::Secret;
use url::Url;

use super::CertificatePlan;

/// What becomes of what happened.
#[derive(Clone, PartialEq, Eq)]
pub struct AuditPlan {
    /// A directory.
    pub spool: PathBuf,
    /// Bytes.
    pub max: u64,
    /// When there is no room: calls are refused, or the oldest records dropped.
    pub refuse: bool,
    /// Never empty; each once.
    pub sinks: Vec<AuditSinkPlan>,
    /// What each call used; `None` = no sink wants it.
    pub usage: Option<UsageStreamPlan>,
}

/// Whether what callers say to models is on record, and how much of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PromptsPlan {
    pub enabled: bool,
    /// Bytes of each.
    pub max: usize,
}

/// A stream of records of its own, whose oldest are dropped when there is no room.
#[derive(Clone, PartialEq, Eq)]
pub struct UsageStreamPlan {
    /// A directory.
    pub spool: PathBuf,
    /// Bytes.
    pub max: u64,
    /// Never empty; each once.
    pub sinks: Vec<AuditSinkPlan>,
}

impl AuditPlan {
    /// The sinks of all streams.
    pub fn all_sinks(&self) -> impl Iterator<Item = &AuditSinkPlan> {
        let usage = self.usage.iter().flat_map(|usage| &usage.sinks);
        self.sinks.iter().chain(usage)
    }

    /// The same but for what receivers know the gateway by, which may be replaced while it runs.
    pub fn without_secrets(mut self) -> Self {
        let usage = self.usage.iter_mut().flat_map(|usage| &mut usage.sinks);
        for sink in self.sinks.iter_mut().chain(usage) {
            sink.to.forget_secrets();
        }
        self
    }
}

/// Where records go, and how they are written.
#[derive(Clone, PartialEq, Eq)]
pub struct AuditSinkPlan {
    pub format: AuditFormatPlan,
    pub to: AuditReceiverPlan,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditFormatPlan {
    Json,
    Ocsf,
    Cef,
    Ecs,
}

/// Where records go.
#[derive(Clone, PartialEq, Eq)]
pub enum AuditReceiverPlan {
    File {
        path: PathBuf,
        /// Bytes after which it is renamed.
        max: u64,
        /// How many renamed ones are kept.
        keep: u32,
    },
    Stdout,
    Syslog {
        /// `tls` or `tcp`, with a host and a port.
        address: Url,
        /// `None` = the system's authorities and those of `egress`.
        ca_file: Option<PathBuf>,
        /// What the gateway shows of itself.
        client: Option<CertificatePlan>,
    },
    Webhook {
        url: Url,
        secret: Secret,
        token: Option<Secret>,
    },
    SplunkHec {
        /// That of the collector, without the path of an endpoint.
        url: Url,
        token: Secret,
        index: Option<String>,
        acknowledge: bool,
    },
    Otlp {
        /// Without `/v1/logs`.
        url: Url,
        token: Option<Secret>,
    },
}

impl AuditReceiverPlan {
    fn forget_secrets(&mut self) {
        match self {
            Self::Webhook { secret, token, .. } => (*secret, *token) = (Secret::new(""), None),
            Self::SplunkHec { token, .. } => *token = Secret::new(""),
            Self::Otlp { token, .. } => *token = None,
            Self::File { .. } | Self::Stdout | Self::Syslog { .. } => {}
        }
    }

    /// Whether both write the same file, which takes one writer.
    pub(crate) fn is_file_of(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::File { path: one, .. }, Self::File { path: other, .. }) => one == other,
            _ => false,
        }
    }

    /// Whether both put records into the same place.
    pub(crate) fn is_where(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::File { .. }, Self::File { .. }) => self.is_file_of(other),
            (Self::Syslog { address: one, .. }, Self::Syslog { address: other, .. }) => {
                one == other
            }
            (Self::Webhook { url: one, .. }, Self::Webhook { url: other, .. }) => one == other,
            (
                Self::SplunkHec { url, index, .. },
                Self::SplunkHec {
                    url: other_url,
                    index: other,
                    ..
                },
            ) => (url, index) == (other_url, other),
            (Self::Otlp { url: one, .. }, Self::Otlp { url: other, .. }) => one == other,
            (Self::Stdout, Self::Stdout) => true,
            _ => false,
        }
    }
}
