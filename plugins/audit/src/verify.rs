//! Whether records are what was written, all of them, and in order.

mod beginning;

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::Deserialize;

use crate::checkpoint::is_signed;
use crate::record::{NONE, hashes};
pub use beginning::{Before, Beginnings, First, NoFirst};

/// What is wrong, and with which record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The line is no record.
    NotARecord,
    /// The record is not what its hash says.
    Altered { seq: u64 },
    /// The record does not follow the one before it, though its number does: one of them was replaced.
    Unlinked { seq: u64 },
    /// Records are missing before this one.
    Missing { from: u64, to: u64 },
    /// The record stands behind one with a higher number.
    Misplaced { seq: u64, after: u64 },
    /// There is another record of this number.
    Twice { seq: u64 },
    /// So many records, or so long, and no checkpoint signs them: the chain was written anew from here
    /// on, or without its key.
    Unsigned { from: u64, to: u64 },
    /// No checkpoint signs any of the chain.
    NeverSigned,
    /// The checkpoint is not signed by the key.
    BadSignature { seq: u64 },
    /// The chain begins with record `first`, and it, or what is read of it, should with `from`.
    Headless { from: u64, first: u64 },
    /// The chain is not there, and should be from this record on.
    Gone { from: u64 },
    /// The chain goes on to this record, and it is not there.
    Truncated { after: u64, to: u64 },
}

/// A fault, where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub place: String,
    pub chain: String,
    pub fault: Fault,
}

/// What is known of a chain once it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    pub chain: String,
    pub first: u64,
    pub last: u64,
    /// What was before the first.
    pub before: Before,
    /// Records that came again, as they were: sinks are handed some twice after a kill.
    pub again: u64,
    /// The last checkpoint, and the key that signed it.
    pub signed: Option<(u64, String)>,
}

/// Reads records, one after the other.
#[derive(Default)]
pub struct Verifier {
    /// The keys that checkpoints may be signed by; none = any.
    keys: Vec<String>,
    beginnings: Beginnings,
    chains: BTreeMap<String, State>,
    found: Vec<Found>,
    records: u64,
}

struct State {
    first: u64,
    last: u64,
    before: Before,
    hash: Vec<u8>,
    /// Of each record from the first on, the beginning of its hash; 0 = it was not seen.
    seen: Vec<u64>,
    again: u64,
    signed: Option<(u64, String)>,
    unsigned: Unsigned,
}

/// Records behind the last checkpoint.
#[derive(Default)]
struct Unsigned {
    /// The first of them.
    from: Option<u64>,
    /// Milliseconds in which there were some: a machine that slept signed nothing meanwhile.
    lasted: u64,
    /// When the last of them was written.
    at: Option<i64>,
    is_told: bool,
}

/// A gateway signs each minute, and after 10,000 records; what it holds while the disk is full is more.
const UNSIGNED_FOR: u64 = 300_000;
const UNSIGNED_RECORDS: u64 = 200_000;

/// So much of a time without records counts, in milliseconds.
const GAP: u64 = 60_000;

#[derive(Deserialize)]
struct Head {
    chain: String,
    seq: u64,
    time: String,
    prev: String,
    hash: String,
    event: String,
    key: Option<String>,
    signature: Option<String>,
}

impl Verifier {
    /// Checkpoints must be signed by one of these keys, where any are given.
    pub fn new(keys: Vec<String>) -> Self {
        Self {
            keys,
            ..Self::default()
        }
    }

    /// Chains begin as is known here; all others with 1.
    pub fn beginning(self, beginnings: Beginnings) -> Self {
        Self { beginnings, ..self }
    }

    /// Reads a line.
    pub fn read(&mut self, place: &str, line: &[u8]) {
        let head = serde_json::from_slice::<Head>(line).ok();
        let time = head.as_ref().and_then(|head| head.time.parse().ok());
        let (Some(head), Some(time), Some((hash, stated))) = (head, time, hashes(line)) else {
            return self.find(place, "", Fault::NotARecord);
        };
        self.records += 1;
        if hash != stated || head.hash.as_bytes() != stated {
            let seq = head.seq;
            self.find(place, &head.chain, Fault::Altered { seq });
        }
        let before = self.chains.get(&head.chain).map_or(0, |state| state.last);
        let faults = match self.chains.get_mut(&head.chain) {
            Some(state) => state.follow(&head),
            None => self.begin(place, &head),
        };
        // An old checkpoint that comes again signs nothing of what came since.
        let follows = head.seq > before && faults.is_empty();
        for fault in faults {
            self.find(place, &head.chain, fault);
        }
        if head.event == "checkpoint" {
            self.checkpoint(place, &head, follows);
        } else if let Some(state) = self.chains.get_mut(&head.chain)
            && let Some(fault) = state.unsigned.more(&head, time)
        {
            self.find(place, &head.chain, fault);
        }
    }

    /// Reads the first record of a chain that is there.
    fn begin(&mut self, place: &str, head: &Head) -> Vec<Fault> {
        let (first, is_oldest) = (head.seq, self.chains.is_empty());
        let before = self.beginnings.before(&head.chain, first, is_oldest);
        if let Before::Missing { from } = before {
            self.find(place, &head.chain, Fault::Headless { from, first });
        }
        let (state, fault) = State::begin(head, before);
        self.chains.insert(head.chain.clone(), state);
        fault.into_iter().collect()
    }

    fn checkpoint(&mut self, place: &str, head: &Head, follows: bool) {
        let key = head.key.as_deref().unwrap_or_default();
        let signature = head.signature.as_deref().unwrap_or_default();
        let is_expected = self.keys.is_empty() || self.keys.iter().any(|one| one == key);
        let prev = head.prev.as_bytes();
        if !is_expected || !is_signed(&head.chain, head.seq, prev, key, signature) {
            let seq = head.seq;
            self.find(place, &head.chain, Fault::BadSignature { seq });
        } else if let Some(state) = self.chains.get_mut(&head.chain)
            && follows
        {
            state.signed = Some((head.seq, key.to_owned()));
            state.unsigned = Unsigned::default();
        }
    }

    /// All was read: chains that should be there have to be.
    pub fn wants_beginnings(&mut self) {
        for First { chain, seq } in self.beginnings.wanted() {
            let is_there = match chain.as_str() {
                "" => !self.chains.is_empty(),
                chain => self.chains.contains_key(chain),
            };
            if !is_there {
                self.find("the beginning", &chain, Fault::Gone { from: seq });
            }
        }
    }

    /// The chain has records up to this one.
    pub fn ends(&mut self, chain: &str, seq: u64) {
        let last = self.chains.get(chain).map_or(0, |state| state.last);
        if last < seq {
            let fault = Fault::Truncated {
                after: last,
                to: seq,
            };
            self.find("the end", chain, fault);
        }
    }

    /// Each chain has to have a checkpoint, however short it is; and there has to be one.
    pub fn wants_signatures(&mut self) {
        let unsigned = self.chains.iter();
        let unsigned = unsigned.filter(|(_, state)| state.signed.is_none());
        let mut unsigned: Vec<String> = unsigned.map(|(chain, _)| chain.clone()).collect();
        if self.chains.is_empty() {
            unsigned.push(String::new());
        }
        for chain in unsigned {
            self.find("the end", &chain, Fault::NeverSigned);
        }
    }

    fn find(&mut self, place: &str, chain: &str, fault: Fault) {
        self.found.push(Found {
            place: place.to_owned(),
            chain: chain.to_owned(),
            fault,
        });
    }

    /// How many records were read.
    pub fn records(&self) -> u64 {
        self.records
    }

    pub fn found(&self) -> &[Found] {
        &self.found
    }

    /// The chains there were.
    pub fn summaries(&self) -> Vec<Summary> {
        let chains = self.chains.iter();
        let summary = |(chain, state): (&String, &State)| Summary {
            chain: chain.clone(),
            first: state.first,
            last: state.last,
            before: state.before,
            again: state.again,
            signed: state.signed.clone(),
        };
        chains.map(summary).collect()
    }
}

impl Unsigned {
    /// One more; a fault the first time that they are too many.
    fn more(&mut self, head: &Head, time: Timestamp) -> Option<Fault> {
        let now = time.as_millisecond();
        if let Some(before) = self.at.replace(now) {
            self.lasted += now.saturating_sub(before).max(0).cast_unsigned().min(GAP);
        }
        let from = *self.from.get_or_insert(head.seq);
        let count = head.seq.saturating_sub(from);
        let is_much = self.lasted > UNSIGNED_FOR || count > UNSIGNED_RECORDS;
        let is_new = is_much && !std::mem::replace(&mut self.is_told, is_much);
        is_new.then_some(Fault::Unsigned { from, to: head.seq })
    }
}

impl State {
    fn begin(head: &Head, before: Before) -> (Self, Option<Fault>) {
        let seq = head.seq;
        let is_linked = seq != 1 || head.prev.as_bytes() == NONE;
        let state = Self {
            first: seq,
            last: seq,
            before,
            hash: head.hash.clone().into_bytes(),
            seen: vec![short(&head.hash)],
            again: 0,
            signed: None,
            unsigned: Unsigned::default(),
        };
        (state, (!is_linked).then_some(Fault::Unlinked { seq }))
    }

    fn follow(&mut self, head: &Head) -> Vec<Fault> {
        let (seq, hash) = (head.seq, short(&head.hash));
        if seq <= self.last {
            return self.again(seq, hash);
        }
        let mut faults = Vec::new();
        if seq > self.last + 1 {
            let (from, to) = (self.last + 1, seq - 1);
            faults.push(Fault::Missing { from, to });
        } else if head.prev.as_bytes() != self.hash {
            faults.push(Fault::Unlinked { seq });
        }
        // A number of somebody's own choice must not take the memory.
        if seq - self.last < 1 << 24 {
            self.seen.resize((seq - self.first) as usize, 0);
            self.seen.push(hash);
        } else {
            (self.first, self.seen) = (seq, vec![hash]);
        }
        self.last = seq;
        self.hash = head.hash.clone().into_bytes();
        faults
    }

    /// A number that was passed already.
    fn again(&mut self, seq: u64, hash: u64) -> Vec<Fault> {
        let after = self.last;
        let at = seq.checked_sub(self.first).map(|at| at as usize);
        match at.and_then(|at| self.seen.get_mut(at)) {
            Some(seen) if *seen == hash => {
                self.again += 1;
                Vec::new()
            }
            Some(seen) if *seen == 0 => {
                *seen = hash;
                vec![Fault::Misplaced { seq, after }]
            }
            Some(_) => vec![Fault::Twice { seq }],
            None => vec![Fault::Misplaced { seq, after }],
        }
    }
}

/// The beginning of a hash; never 0.
fn short(hash: &str) -> u64 {
    let digits = hash.get(..16).unwrap_or("1");
    u64::from_str_radix(digits, 16).unwrap_or(1).max(1)
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotARecord => f.write_str("the line is no record"),
            Self::Altered { seq } => write!(f, "record {seq} was altered"),
            Self::Unlinked { seq } => write!(
                f,
                "record {seq} does not follow record {}: one of them was replaced",
                seq.saturating_sub(1)
            ),
            Self::Missing { from, to } if from == to => write!(f, "record {from} is missing"),
            Self::Missing { from, to } => write!(f, "records {from} to {to} are missing"),
            Self::Misplaced { seq, after } => {
                write!(f, "record {seq} stands behind record {after}")
            }
            Self::Twice { seq } => write!(f, "there is another record {seq}"),
            Self::Unsigned { from, to } => write!(
                f,
                "records {from} to {to} are not signed, and should be: they were not written by the gateway"
            ),
            Self::NeverSigned => f.write_str("no checkpoint signs any of it"),
            Self::BadSignature { seq } => {
                write!(f, "record {seq} is a checkpoint that the key did not sign")
            }
            Self::Headless { from, first } if from + 1 == *first => write!(
                f,
                "the chain begins with record {first}: record {from} is missing"
            ),
            Self::Headless { from, first } => write!(
                f,
                "the chain begins with record {first}: records {from} to {} are missing",
                first - 1
            ),
            Self::Gone { from } => write!(
                f,
                "records from {from} on should be there, and none of the chain is"
            ),
            Self::Truncated { after, to } => write!(
                f,
                "the chain ends at record {after}, and {to} were handed on: the last are missing"
            ),
        }
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.chain.as_str() {
            "" => write!(f, "{}: {}", self.place, self.fault),
            chain => write!(f, "{}: chain {chain}: {}", self.place, self.fault),
        }
    }
}
