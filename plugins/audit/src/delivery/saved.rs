//! What is saved of a sink, from start to start.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Cursor;
use crate::replace;

/// Where it is, and where it began.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Saved {
    #[serde(flatten)]
    pub(super) behind: Cursor,
    /// The chain and the number of the first record it was to have; `None` where that was not noted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) first: Option<(String, u64)>,
}

impl Saved {
    /// Of the sink of this name.
    pub(super) fn load(directory: &Path, name: &str) -> Self {
        replace::load(&saved_in(directory, name))
    }

    pub(super) fn save(&self, directory: &Path, name: &str) -> io::Result<()> {
        replace::save(&saved_in(directory, name), self)
    }
}

/// Where it is saved.
pub(crate) fn saved_in(directory: &Path, name: &str) -> PathBuf {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let mut readable: String = name.chars().map(plain).collect();
    readable.truncate(60);
    let checksum = crc32fast::hash(name.as_bytes());
    directory.join(format!("{readable}-{checksum:08x}.cursor"))
}

/// The chain and the number of the first record that the sink of this name was to have: the oldest there
/// was when it was new.
pub fn first_delivered(directory: &Path, name: &str) -> Option<(String, u64)> {
    Saved::load(directory, name).first
}

/// The chain and the number of the last record that it was handed, by what is saved.
pub fn last_delivered(directory: &Path, name: &str) -> Option<(String, u64)> {
    let Cursor { chain, seq, .. } = Saved::load(directory, name).behind;
    (!chain.is_empty()).then_some((chain, seq))
}
