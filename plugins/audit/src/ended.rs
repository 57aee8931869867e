//! How long chains were that go on no more, so that it is known what was dropped of their ends.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::replace;

const FILE: &str = "chains.json";

/// As many are kept.
const KEPT: usize = 100;

/// Chains, oldest first.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Ended(Vec<End>);

#[derive(Serialize, Deserialize)]
struct End {
    chain: String,
    /// Of its last record.
    seq: u64,
}

impl Ended {
    /// What was saved; nothing where there is none, or it is damaged.
    pub(crate) fn load(directory: &Path) -> Self {
        replace::load(&directory.join(FILE))
    }

    pub(crate) fn save(&self, directory: &Path) -> io::Result<()> {
        replace::save(&directory.join(FILE), self)
    }

    /// This chain ends with this record.
    pub(crate) fn push(&mut self, chain: &str, seq: u64) {
        let Self(ends) = self;
        ends.retain(|end| end.chain != chain);
        let chain = chain.to_owned();
        ends.push(End { chain, seq });
        ends.drain(..ends.len().saturating_sub(KEPT));
    }

    /// The number of its last record; `None` where that is not known.
    pub(crate) fn end_of(&self, chain: &str) -> Option<u64> {
        self.from(chain).next().map(|end| end.seq)
    }

    /// The chain that ended after this one.
    pub(crate) fn after(&self, chain: &str) -> Option<&str> {
        self.from(chain).nth(1).map(|end| end.chain.as_str())
    }

    /// How many records there were behind this one of this chain.
    pub(crate) fn left(&self, chain: &str, seq: u64) -> u64 {
        let all: u64 = self.from(chain).map(|end| end.seq).sum();
        all.saturating_sub(seq)
    }

    /// This chain and those after it.
    fn from(&self, chain: &str) -> impl Iterator<Item = &End> {
        self.0.iter().skip_while(move |end| end.chain != chain)
    }
}
