//! A record of the spool, read again.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::events::CATALOGUE;

/// Makes a struct of fields that there may be.
macro_rules! fields {
    ($( #[doc = $what:literal] $type:ident { $($field:ident: $value:ty,)* } )*) => { $(
        #[doc = $what]
        #[derive(Default, Deserialize, Serialize)]
        #[serde(default)]
        pub(crate) struct $type {
            $( #[serde(skip_serializing_if = "Option::is_none")] pub(crate) $field: Option<$value>, )*
        }

        #[cfg(test)]
        impl $type {
            pub(crate) const FIELDS: &[&str] = &[$(stringify!($field)),*];
        }
    )* };
}

fields! {
    /// The fields of all events.
    Native {
        v: u64, chain: String, replica: String, seq: u64, prev: String, time: String, event: String,
        hash: String,
        request: String, decision: String, trace: String, who: Who, client: String, user_agent: String,
        claimed: BTreeMap<String, String>, prompt: String, prompt_bytes: u64,
        operation: String, model: String, served: String, provider: String, credential: String,
        outcome: String, status: u64, reason: String, attempts: u64, stream: bool, used: Used,
        took_ms: u64, first_ms: u64, first_chunk_ms: u64, overhead_us: u64, start_seq: u64, start_chain: String, untold: u64, limit: Limit,
        change: String, token_id: String, program: String, state: String,
        fault: String, until: String, by: String, quota: u64, error: String,
        version: String, generation: u64, accepted: bool, digest: String, problems: String,
        method: String, route: String, actor: String, tenant: String, action: String, subject: String, before: String, after: String,
        refused_for: u64, key: String, signature: String,
        sink: String, from_seq: u64, from_chain: String, count: u64, bytes: u64, last_seq: u64,
    }
    /// Who it was.
    Who {
        name: String, issuer: String, subject: String, email: String, tenant: String, token_id: String,
        api_key: String,
    }
    /// What a call used.
    Used { input: u64, output: u64, cache_read: u64, cache_write: u64, reasoning: u64, cost: u64, }
    /// The limit that fell.
    Limit { name: String, scope: String, measure: String, window: String, reset: String, }
}

/// How much it is to somebody who watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Severity {
    /// The ordinary run of things.
    Informational,
    /// Somebody changed something.
    Notice,
    /// Somebody was refused, or something failed.
    Warning,
    /// Records are missing.
    Error,
}

#[cfg(test)]
impl Native {
    /// As `events::GROUPS` has them.
    pub(crate) const GROUPS: [&[&str]; 3] = [Who::FIELDS, Used::FIELDS, Limit::FIELDS];
}

impl Native {
    pub(crate) fn read(record: &[u8]) -> Option<Self> {
        serde_json::from_slice(record).ok()
    }

    pub(crate) fn event(&self) -> &str {
        self.event.as_deref().unwrap_or_default()
    }

    /// Its name unlike that of all other records.
    pub(crate) fn uid(&self) -> String {
        let chain = self.chain.as_deref().unwrap_or_default();
        format!("{chain}:{}", self.seq.unwrap_or_default())
    }

    /// When it happened, since 1970.
    pub(crate) fn milliseconds(&self) -> Option<i64> {
        let time: Timestamp = self.time.as_deref()?.parse().ok()?;
        Some(time.as_millisecond())
    }

    /// What it says in words.
    pub(crate) fn message(&self) -> String {
        if let (Some(actor), Some(action)) = (&self.actor, &self.action) {
            return format!("{actor} {action}");
        }
        let mut known = CATALOGUE.iter();
        let known = known.find(|one| one.name == self.event());
        // Its first sentence.
        let what = known.map_or(self.event(), |one| one.what.trim());
        let end = what.find(". ").or_else(|| what.find("; "));
        what[..end.unwrap_or(what.len())]
            .trim_end_matches('.')
            .to_owned()
    }

    /// Whether it went well; `None` where that is not known yet.
    pub(crate) fn is_success(&self) -> Option<bool> {
        let outcome = self.outcome.as_deref();
        Some(match self.event() {
            "request.start" | "request.prompt" => return None,
            "request.end" | "usage" => {
                outcome == Some("answered") && self.status.unwrap_or(0) < 400
            }
            "management.request" => self.status.unwrap_or(0) < 400,
            "login" => outcome == Some("granted"),
            "session" => outcome != Some("not_renewed"),
            "configuration" => self.accepted.unwrap_or(true),
            "credential.refreshed" => self.error.is_none(),
            "request.aborted"
            | "authentication.refused"
            | "authorization.denied"
            | "limit.hit"
            | "management.refused"
            | "audit.dropped"
            | "audit.damaged" => false,
            _ => true,
        })
    }

    pub(crate) fn severity(&self) -> Severity {
        match self.event() {
            "audit.dropped" | "audit.damaged" => Severity::Error,
            "credential.cooled" | "credential.spent" => Severity::Warning,
            // Callers hang up.
            "request.end" | "usage" if self.outcome.as_deref() == Some("client_gone") => {
                Severity::Informational
            }
            _ if self.is_success() == Some(false) => Severity::Warning,
            "gateway.started" | "gateway.stopped" | "login" | "token" | "credential.changed"
            | "configuration" | "managed" => Severity::Notice,
            _ => Severity::Informational,
        }
    }
}
