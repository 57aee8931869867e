//! Which calls have a start on record and no end.
//!
//! Nothing on the path of a request keeps this: it is read from the segments, at the start, and before
//! one of them is removed.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use memchr::memmem;
use serde::{Deserialize, Serialize};

use crate::replace;
use crate::segment::Lines;

const FILE: &str = "open.json";

/// As it stands behind a segment.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct OpenRequests {
    /// Segments up to this number were read.
    through: u64,
    /// By the id of the decision, which is the gateway's own.
    open: HashMap<String, Start>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Start {
    pub(crate) request: String,
    pub(crate) seq: u64,
    /// Of the record; empty where a release before this one has saved it.
    #[serde(default)]
    pub(crate) chain: String,
}

/// What of a record matters here.
#[derive(Deserialize)]
struct Head {
    seq: u64,
    event: String,
    request: String,
    decision: String,
}

impl OpenRequests {
    /// What was saved; nothing where there is none, or it is damaged.
    pub(crate) fn load(directory: &Path) -> Self {
        replace::load(&directory.join(FILE))
    }

    /// In the place of what was saved before, whole or not at all.
    pub(crate) fn save(&self, directory: &Path) -> io::Result<()> {
        replace::save(&directory.join(FILE), self)
    }

    /// Reads a segment. They are read in their order; one that was read is passed over.
    pub(crate) fn read(&mut self, directory: &Path, number: u64) -> io::Result<()> {
        if number <= self.through {
            return Ok(());
        }
        let (header, mut lines) = Lines::open(directory, number)?;
        let finder = memmem::Finder::new(r#","event":"request."#);
        while let Some(line) = lines.next()? {
            if let Ok(record) = line
                && finder.find(record).is_some()
                && let Ok(head) = serde_json::from_slice::<Head>(record)
            {
                self.note(head, &header.chain);
            }
        }
        self.through = number;
        Ok(())
    }

    fn note(&mut self, head: Head, chain: &str) {
        match head.event.as_str() {
            "request.start" => {
                let start = Start {
                    request: head.request,
                    seq: head.seq,
                    chain: chain.to_owned(),
                };
                self.open.insert(head.decision, start);
            }
            "request.end" | "request.aborted" => {
                self.open.remove(&head.decision);
            }
            _ => {}
        }
    }

    /// In the order in which they began, those of a chain together.
    pub(crate) fn into_starts(self) -> Vec<(String, Start)> {
        let mut starts: Vec<_> = self.open.into_iter().collect();
        starts.sort_by(|(_, a), (_, b)| (&a.chain, a.seq).cmp(&(&b.chain, b.seq)));
        starts
    }
}
