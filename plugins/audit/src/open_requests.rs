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

/// What of a record matters here. All of it stands at its beginning.
struct Head<'r> {
    seq: u64,
    event: &'r str,
    request: &'r str,
    decision: &'r str,
}

impl<'r> Head<'r> {
    /// Nearly every record is one of a call, and a parser would read all of it. Quotation marks within
    /// a text are escaped, so that these names are found where they are names.
    fn of(record: &'r [u8]) -> Option<Self> {
        let record = after(record, br#","seq":"#)?;
        let (seq, record) = until(record, b',')?;
        let record = after(record, br#","event":""#)?;
        let (event, record) = until(record, b'"')?;
        let record = after(record, br#","request":""#)?;
        let (request, record) = until(record, b'"')?;
        let record = after(record, br#","decision":""#)?;
        let (decision, _) = until(record, b'"')?;
        Some(Self {
            seq: seq.parse().ok()?,
            event,
            request,
            decision,
        })
    }
}

/// What stands behind the first `name`.
fn after<'r>(record: &'r [u8], name: &[u8]) -> Option<&'r [u8]> {
    let at = memmem::find(record, name)?;
    Some(&record[at + name.len()..])
}

/// The text before the first `end`, and the rest.
fn until(record: &[u8], end: u8) -> Option<(&str, &[u8])> {
    let at = memchr::memchr(end, record)?;
    Some((str::from_utf8(&record[..at]).ok()?, &record[at..]))
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
                && let Some(head) = Head::of(record)
            {
                self.note(head, &header.chain);
            }
        }
        self.through = number;
        Ok(())
    }

    fn note(&mut self, head: Head<'_>, chain: &str) {
        match head.event {
            "request.start" => {
                let start = Start {
                    request: head.request.to_owned(),
                    seq: head.seq,
                    chain: chain.to_owned(),
                };
                self.open.insert(head.decision.to_owned(), start);
            }
            "request.end" | "request.aborted" => {
                self.open.remove(head.decision);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_says_of_which_call_it_is() {
        let record = br#"{"v":1,"chain":"c","replica":"r","seq":7,"prev":"0","time":"t","event":"request.end","request":"mine","decision":"d-1","who":{"name":"\",\"decision\":\"other"}}"#;
        let head = Head::of(record).unwrap();
        let said = (head.seq, head.event, head.request, head.decision);
        assert_eq!(said, (7, "request.end", "mine", "d-1"));
        for cut in 0..record.len() {
            let _ = Head::of(&record[..cut]);
        }
        assert!(Head::of(br#"{"v":1,"seq":7,"event":"login.failed"}"#).is_none());
    }
}
