//! Where chains begin among what is read, and what explains that one does not with its first record.

use std::str::FromStr;

use thiserror::Error;

/// A record of a chain: it, or an older one, is the first that has to be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct First {
    /// Empty = the chain that is read first.
    pub chain: String,
    pub seq: u64,
}

/// What is written is no [`First`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("expected the number of a record, or CHAIN:SEQ")]
pub struct NoFirst;

impl FromStr for First {
    type Err = NoFirst;

    fn from_str(text: &str) -> Result<Self, NoFirst> {
        let (chain, seq) = text.rsplit_once(':').unwrap_or(("", text));
        let seq = seq.parse().ok().filter(|seq| *seq > 0);
        Ok(Self {
            chain: chain.to_owned(),
            seq: seq.ok_or(NoFirst)?,
        })
    }
}

/// What is known of where records begin. A chain of which nothing is known begins with 1.
#[derive(Clone, Debug, Default)]
pub struct Beginnings {
    /// As whoever asks says; it goes before all else.
    pub stated: Vec<First>,
    /// The first record that the sink was handed whose files are read, as the gateway has noted: one
    /// that is new begins with the oldest that was in the spool.
    pub handed: Option<First>,
    /// There are as many files as the sink keeps: it may have removed older ones.
    pub is_full: bool,
}

/// What was before the first record of a chain that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// It is the chain's first.
    Nothing,
    /// Records that are elsewhere, as was said.
    Elsewhere,
    /// Records that the sink was never handed.
    Older,
    /// Files that the sink may have removed, to keep no more than so many.
    Rotated,
    /// From this one on they should be there.
    Missing { from: u64 },
}

impl Beginnings {
    /// What is before this record, the first of this chain. `is_oldest`: no other chain was read before.
    pub(super) fn before(&self, chain: &str, seq: u64, is_oldest: bool) -> Before {
        let is_of = |one: &&First| match one.chain.as_str() {
            "" => is_oldest,
            of => of == chain,
        };
        let stated = self.stated.iter().find(is_of).map(|one| one.seq);
        let handed = self.handed.as_ref().filter(is_of).map(|one| one.seq);
        let (from, otherwise) = match (stated, handed) {
            (Some(stated), _) => (stated, Before::Elsewhere),
            // What rotation removes is before all that is there.
            (None, _) if self.is_full && is_oldest => (seq, Before::Rotated),
            (None, Some(handed)) => (handed, Before::Older),
            (None, None) => (1, Before::Nothing),
        };
        match seq {
            0 | 1 => Before::Nothing,
            _ if seq > from => Before::Missing { from },
            _ => otherwise,
        }
    }

    /// The records that have to be there, or older ones of their chains.
    pub(super) fn wanted(&self) -> Vec<First> {
        let noted = self.handed.iter().filter(|_| !self.is_full);
        match self.stated.is_empty() {
            true => noted.cloned().collect(),
            false => self.stated.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_record_is_a_number_with_or_without_its_chain() {
        let first = |chain: &str, seq| {
            let chain = chain.to_owned();
            Ok(First { chain, seq })
        };
        assert_eq!("500".parse(), first("", 500));
        assert_eq!("5f0c:500".parse(), first("5f0c", 500));
        for wrong in ["", "0", "-1", "5f0c", "5f0c:", "500:5f0c", "5f0c:0"] {
            assert_eq!(wrong.parse::<First>(), Err(NoFirst), "{wrong}");
        }
    }
}
