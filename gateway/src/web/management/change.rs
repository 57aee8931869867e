//! How things were and how they are, as it goes on record of whoever changed them: never a secret.

use std::fmt::{Debug, Display, Write as _};

use turnpike_identity::sso::Tries;

use crate::token_entry::TokenEntry;
use crate::upstream::Credential;
use crate::upstream::roll::Enrolled;

/// Before and after. `None` = it was not there, or is not any more.
#[derive(Default)]
pub(super) struct Change {
    pub(super) before: Option<String>,
    pub(super) after: Option<String>,
}

/// Names and values, one after the other.
#[derive(Default)]
pub(super) struct Words(String);

impl Change {
    /// Of what was there, and is.
    pub(super) fn of(before: impl Into<String>, after: impl Into<String>) -> Self {
        Self {
            before: Some(before.into()),
            after: Some(after.into()),
        }
    }

    /// Of what was not there before.
    pub(super) fn made(after: impl Into<String>) -> Self {
        Self {
            before: None,
            after: Some(after.into()),
        }
    }

    /// Of what is not there any more.
    pub(super) fn ended(before: impl Into<String>) -> Self {
        Self {
            before: Some(before.into()),
            after: None,
        }
    }
}

impl Words {
    /// A number, or a word of ours.
    pub(super) fn with(mut self, name: &str, value: impl Display) -> Self {
        let comma = if self.0.is_empty() { "" } else { ", " };
        // Text takes all that is written to it.
        let _ = write!(self.0, "{comma}{name} {value}");
        self
    }

    /// Words of somebody's own: in quotes, so that they pass for no others.
    pub(super) fn quoting(self, name: &str, value: Option<impl Debug>) -> Self {
        match value {
            Some(value) => self.with(name, format_args!("{value:?}")),
            None => self,
        }
    }

    /// A number, or that there is none.
    pub(super) fn or_none(self, name: &str, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self.with(name, "none"),
        }
    }
}

impl From<Words> for String {
    fn from(words: Words) -> Self {
        words.0
    }
}

/// What is written of a credential.
pub(super) fn credential(one: &Enrolled) -> Words {
    let words = Words::default()
        .with("type", one.kind)
        .quoting("label", one.label.as_ref())
        .quoting("pool", one.pool.as_ref());
    match one.credential() {
        // Switched off, or not to be read.
        None => words.with("in use", false),
        Some(credential) => words
            .with("priority", credential.priority)
            .with("weight", credential.weight)
            .or_none("limit", credential.quota.limit),
    }
}

/// What was counted against a credential.
pub(super) fn counted(credential: &Credential) -> Words {
    let standing = &credential.standing;
    Words::default()
        .with("used", standing.allowance.spent())
        .with("cooldowns", standing.cooldowns().len())
}

/// An agent token.
pub(super) fn token(entry: &TokenEntry) -> Words {
    let words = Words::default()
        .quoting("name", Some(&entry.name))
        .with("state", entry.state)
        .quoting("tenant", entry.tenant.as_ref())
        .quoting("owner", entry.owner());
    let words = match entry.cidrs.as_slice() {
        [] => words,
        cidrs => words.with("cidrs", cidrs.join(" ")),
    };
    let words = match entry.certificates.as_slice() {
        [] => words,
        certificates => words.with("certificates", certificates.join(" ")),
    };
    let words = match &entry.ends_at {
        None => words,
        Some(end) => words.with("ends", end),
    };
    match &entry.rotated_to {
        None => words,
        Some(successor) => words.with("rotated to", successor),
    }
}

/// Attempts to log in.
pub(super) fn attempts(tries: &[Tries]) -> Words {
    let attempts = tries.iter().map(|one| u64::from(one.attempts));
    Words::default()
        .with("counted", tries.len())
        .with("attempts", attempts.sum::<u64>())
}
