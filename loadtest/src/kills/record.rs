//! What is on record, as `turnpike audit` tells it.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::process::Stdio;

use anyhow::{Context as _, ensure};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::number;
use crate::process::Program;

/// Of a record what is looked at.
#[derive(Deserialize)]
struct Record<'r> {
    chain: Cow<'r, str>,
    seq: u64,
    event: Cow<'r, str>,
    decision: Option<Cow<'r, str>>,
    request: Option<Cow<'r, str>>,
}

/// How often something is on record of a call.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    pub starts: u32,
    pub ends: u32,
    pub aborted: u32,
    /// The number that its caller gave it.
    pub number: Option<usize>,
}

/// What the sink's files hold.
#[derive(Debug, Default)]
pub struct OnRecord {
    /// Each once.
    pub records: u64,
    /// Those that were handed on again after a kill.
    pub again: u64,
    /// Those between others that are not there.
    pub missing: u64,
    pub calls: HashMap<String, Told>,
    /// What `turnpike audit verify` says, and whether it is content.
    pub verified: (bool, String),
}

impl OnRecord {
    pub(super) async fn read(program: &Program) -> anyhow::Result<Self> {
        let exporting = program
            .command(&["audit", "export"])
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn();
        let mut exporting = exporting.context("turnpike audit export")?;
        let told = exporting.stdout.take().context("what it tells")?;
        let mut lines = BufReader::new(told).lines();
        let (mut found, mut chains) = (Self::default(), Chains::default());
        while let Some(line) = lines.next_line().await? {
            let record = serde_json::from_str(&line).with_context(|| line.clone())?;
            found.add(&record, &mut chains);
        }
        ensure!(
            exporting.wait().await?.success(),
            "turnpike audit export failed"
        );
        found.missing = chains.missing();
        found.verified = verified(program).await?;
        Ok(found)
    }

    fn add(&mut self, record: &Record<'_>, chains: &mut Chains) {
        if !chains.add(&record.chain, record.seq) {
            self.again += 1;
            return;
        }
        self.records += 1;
        let Some(decision) = &record.decision else {
            return;
        };
        let count = |told: &mut Told| match &*record.event {
            "request.start" => told.starts += 1,
            "request.end" => told.ends += 1,
            "request.aborted" => told.aborted += 1,
            _ => {}
        };
        if record.event.starts_with("request.") {
            let told = self.calls.entry(decision.to_string()).or_default();
            count(told);
            let number = record.request.as_deref().and_then(number);
            told.number = told.number.or(number);
        }
    }

    /// How many starts there are of each call that has any, by the number that its caller gave it.
    pub fn starts(&self) -> BTreeMap<usize, u32> {
        let mut starts = BTreeMap::new();
        for told in self.calls.values() {
            if let Some(number) = told.number {
                *starts.entry(number).or_default() += told.starts;
            }
        }
        starts
    }
}

/// Which records of which chain were seen.
#[derive(Default)]
struct Chains(HashMap<String, HashSet<u64>>);

impl Chains {
    /// Whether it is new.
    fn add(&mut self, chain: &str, seq: u64) -> bool {
        match self.0.get_mut(chain) {
            Some(seen) => seen.insert(seq),
            None => self
                .0
                .insert(chain.to_owned(), HashSet::from([seq]))
                .is_none(),
        }
    }

    /// Chains begin with 1.
    fn missing(&self) -> u64 {
        let missing = |seen: &HashSet<u64>| {
            let last = seen.iter().max().copied().unwrap_or_default();
            last.saturating_sub(seen.len() as u64)
        };
        self.0.values().map(missing).sum()
    }
}

async fn verified(program: &Program) -> anyhow::Result<(bool, String)> {
    let mut verify = program.command(&["audit", "verify"]);
    let output = verify.stdout(Stdio::piped()).output().await?;
    let said = [output.stdout, output.stderr].concat();
    Ok((
        output.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_counted_once_and_calls_by_their_number() {
        let (mut found, mut chains) = (OnRecord::default(), Chains::default());
        let line = |seq: u64, event: &str, decision: &str| {
            format!(
                r#"{{"chain":"a","seq":{seq},"event":"{event}","decision":"{decision}","request":"call-7"}}"#
            )
        };
        for line in [
            line(1, "request.start", "x"),
            line(2, "request.end", "x"),
            line(2, "request.end", "x"),
            line(4, "request.start", "y"),
            line(5, "limit.hit", "z"),
        ] {
            found.add(&serde_json::from_str(&line).unwrap(), &mut chains);
        }
        assert_eq!((found.records, found.again, chains.missing()), (4, 1, 1));
        assert_eq!((found.calls["x"].starts, found.calls["x"].ends), (1, 1));
        assert_eq!(found.starts(), BTreeMap::from([(7, 2)]));
        assert_eq!(found.calls.len(), 2);
    }
}
