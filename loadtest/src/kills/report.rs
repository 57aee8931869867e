//! Whether what is on record is what happened.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use super::Plan;
use super::caller::Seen;
use super::record::{OnRecord, Told};

/// What was done, seen and recorded.
#[derive(Debug)]
pub struct Report {
    pub plan: Plan,
    pub kills: usize,
    pub seen: Seen,
    /// The calls that the provider saw.
    pub at_provider: BTreeSet<usize>,
    pub on_record: OnRecord,
    pub took: Duration,
}

/// What must not be, and how often it is.
struct Fault(&'static str, u64);

impl Report {
    pub fn is_good(&self) -> bool {
        self.faults().iter().all(|Fault(_, times)| *times == 0) && self.on_record.verified.0
    }

    fn faults(&self) -> [Fault; 8] {
        let starts = self.on_record.starts();
        let not_once = |numbers: &mut dyn Iterator<Item = &usize>| {
            numbers
                .filter(|number| starts.get(number) != Some(&1))
                .count() as u64
        };
        let calls = || self.on_record.calls.values();
        let count = |is: fn(&Told) -> bool| calls().filter(|told| is(told)).count() as u64;
        let refused: usize = self.seen.refused.values().sum();
        [
            Fault("calls that were refused", refused as u64),
            Fault(
                "calls at the provider without one start",
                not_once(&mut self.at_provider.iter()),
            ),
            Fault(
                "calls answered without one start",
                not_once(&mut self.seen.answered.iter()),
            ),
            Fault(
                "starts without an end",
                count(|told| told.starts > 0 && told.ends + told.aborted == 0),
            ),
            Fault(
                "calls with more than one end",
                count(|told| told.ends + told.aborted > 1),
            ),
            Fault(
                "calls with more than one start",
                count(|told| told.starts > 1),
            ),
            Fault("ends without a start", count(|told| told.starts == 0)),
            Fault("records that the sink has not", self.on_record.missing),
        ]
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { plan, seen, .. } = self;
        let (calls, seed, took) = (plan.calls, plan.seed, self.took.as_secs());
        writeln!(
            out,
            "  {calls} calls of {} callers, killed {} times (seed {seed}), {took} s",
            plan.callers, self.kills
        )?;
        writeln!(
            out,
            "  answered whole {}, cut {}, at the provider {}",
            seen.answered.len(),
            seen.cut,
            self.at_provider.len()
        )?;
        let told = || self.on_record.calls.values();
        let sum = |of: fn(&Told) -> u32| told().map(|told| u64::from(of(told))).sum::<u64>();
        writeln!(
            out,
            "  on record: {} starts, {} ends, {} aborted; {} records, {} of them handed on again",
            sum(|told| told.starts),
            sum(|told| told.ends),
            sum(|told| told.aborted),
            self.on_record.records,
            self.on_record.again
        )?;
        for Fault(what, times) in self.faults() {
            let mark = if times == 0 { "ok" } else { "FAILED" };
            writeln!(out, "  {what:<42} {times:>6}  {mark}")?;
        }
        let (is_good, said) = &self.on_record.verified;
        let said = match is_good {
            true => said.lines().last().unwrap_or_default(),
            false => said,
        };
        let mark = if *is_good { "ok" } else { "FAILED" };
        writeln!(out, "  turnpike audit verify: {said}  {mark}")?;
        for (why, times) in &seen.refused {
            writeln!(out, "  refused with {why}: {times}")?;
        }
        writeln!(out, "  {}", if self.is_good() { "pass" } else { "FAIL" })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::path::PathBuf;

    use super::*;

    /// Of one call that was answered, with this on record.
    fn report(calls: &[Told]) -> Report {
        let calls = calls.iter().enumerate();
        let calls = calls.map(|(at, told)| (at.to_string(), *told));
        Report {
            plan: Plan {
                gateway: PathBuf::new(),
                directory: PathBuf::new(),
                calls: 1,
                kills: 0,
                callers: 1,
                seed: 1,
            },
            kills: 0,
            seen: Seen {
                answered: vec![7],
                ..Seen::default()
            },
            at_provider: BTreeSet::from([7]),
            on_record: OnRecord {
                calls: calls.collect::<HashMap<_, _>>(),
                verified: (true, String::new()),
                ..OnRecord::default()
            },
            took: Duration::ZERO,
        }
    }

    #[test]
    fn one_start_and_one_end_are_good_and_nothing_else_is() {
        let good = Told {
            starts: 1,
            ends: 1,
            aborted: 0,
            number: Some(7),
        };
        assert!(report(&[good]).is_good());
        let aborted = Told {
            ends: 0,
            aborted: 1,
            ..good
        };
        assert!(report(&[aborted]).is_good());
        for wrong in [
            Told { ends: 0, ..good },
            Told { ends: 2, ..good },
            Told { aborted: 1, ..good },
            Told { starts: 0, ..good },
            Told { starts: 2, ..good },
            Told {
                number: Some(8),
                ..good
            },
        ] {
            assert!(!report(&[wrong]).is_good(), "{wrong:?}");
        }
        assert!(!report(&[]).is_good(), "nothing is on record");
        assert!(!report(&[good, good]).is_good(), "twice");
        let mut missing = report(&[good]);
        missing.on_record.missing = 1;
        assert!(!missing.is_good());
        let mut unverified = report(&[good]);
        unverified.on_record.verified.0 = false;
        assert!(!unverified.is_good());
    }
}
