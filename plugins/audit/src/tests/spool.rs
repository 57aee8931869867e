use std::fs;

use proptest::prelude::*;

use super::*;
use crate::events::{RequestAborted, RequestPrompt};
use crate::verify::Verifier;
use crate::{OpenError, Whole};

/// Whether these are one chain without a fault.
fn are_whole(records: &[Vec<u8>]) -> bool {
    let mut verifier = Verifier::new(Vec::new());
    records.iter().for_each(|line| verifier.read("f", line));
    verifier.found().is_empty()
}

#[test]
fn a_chain_goes_on_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    for round in 0..3 {
        let spool = large(directory.path());
        assert_eq!(spool.written(), 2 * round);
        start(&spool, "a");
        let mark = end(&spool, "a");
        spool.keep(mark).unwrap();
    }
    let records = records(directory.path());
    assert!(records.len() == 6 && are_whole(&records));
}

#[test]
fn a_chain_begins_when_the_machine_was_started_anew() {
    let directory = tempfile::tempdir().unwrap();
    let spool = large(directory.path());
    start(&spool, "open");
    spool.keep_all().unwrap();
    drop(spool);
    let terms = Terms {
        directory: directory.path().to_owned(),
        max: 1 << 30,
        when_full: WhenFull::Refuse,
        boot: "another".to_owned(),
    };
    let (spool, found) = Spool::open(terms, "00c0ffef", "here").unwrap();
    assert_eq!(
        spool.written(),
        0,
        "sinks may have numbers that the disk lost"
    );
    assert_eq!(found.aborted.len(), 1, "what was under way is known");
    start(&spool, "b");
    spool.keep_all().unwrap();
    let records = records(directory.path());
    let chain = |at: usize| String::from_utf8_lossy(&records[at]).contains("00c0ffef");
    assert!(!chain(0) && chain(1) && are_whole(&records));
}

#[test]
fn one_spool_has_one_gateway() {
    let directory = tempfile::tempdir().unwrap();
    let _spool = large(directory.path());
    let terms = Terms {
        directory: directory.path().to_owned(),
        max: 1,
        when_full: WhenFull::Refuse,
        boot: String::new(),
    };
    let another = Spool::open(terms, "0", "there");
    assert!(matches!(another, Err(OpenError::InUse(_))));
}

#[test]
fn a_call_that_was_under_way_is_aborted_once() {
    let directory = tempfile::tempdir().unwrap();
    let spool = large(directory.path());
    start(&spool, "done");
    start(&spool, "open");
    end(&spool, "done");
    spool.keep_all().unwrap();
    drop(spool);
    let (spool, found) = open(directory.path(), 1 << 30, WhenFull::Refuse);
    let [(decision, started)] = &found.aborted[..] else {
        panic!("one call was under way");
    };
    assert_eq!((decision.as_str(), started.seq), ("open", 2));
    let aborted = RequestAborted {
        request: &started.request,
        decision,
        start_seq: started.seq,
        start_chain: None,
    };
    spool.note(&aborted, NOW);
    spool.keep_all().unwrap();
    drop(spool);
    let (_, found) = open(directory.path(), 1 << 30, WhenFull::Refuse);
    assert!(found.aborted.is_empty());
}

#[test]
fn a_start_is_known_after_its_segment_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let (spool, _) = open(directory.path(), 1 << 20, WhenFull::Refuse);
    start(&spool, "open");
    while spool.number() < 3 {
        start(&spool, "other");
        end(&spool, "other");
        spool.keep_all().unwrap();
    }
    spool.tidy(3);
    assert_eq!(segment::numbers(directory.path()).unwrap(), [3]);
    drop(spool);
    let (_, found) = open(directory.path(), 1 << 20, WhenFull::Refuse);
    let open: Vec<_> = found.aborted.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(open, ["open"]);
}

#[test]
fn a_full_spool_refuses_until_there_is_room() {
    let directory = tempfile::tempdir().unwrap();
    let (spool, _) = open(directory.path(), 512 << 10, WhenFull::Refuse);
    while !spool.refuses() {
        start(&spool, "a");
        spool.keep_all().unwrap();
    }
    assert!(spool.bytes() >= 512 << 10);
    // What is under way is told all the same.
    let mark = end(&spool, "a");
    assert!(spool.keep(mark).is_ok());
    spool.tidy(spool.number());
    assert!(!spool.refuses());
}

#[test]
fn what_a_full_disk_did_not_take_is_held_within_bounds_and_written_later() {
    let directory = tempfile::tempdir().unwrap();
    let spool = large(directory.path());
    start(&spool, "before");
    spool.keep_all().unwrap();
    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let file = spool.divert(full);
    let mut noted = 1;
    while spool.lost() < 100 {
        let mark = start(&spool, "meanwhile");
        noted += u64::from(mark.is_noted());
        assert!(spool.keep(mark).is_err(), "a call must not go on");
    }
    assert!(spool.refuses());
    assert!(spool.held() < 40 << 20, "{}", spool.held());
    drop(spool.divert(file));
    spool.keep_all().unwrap();
    assert!(!spool.refuses());
    let records = records(directory.path());
    assert_eq!(records.len() as u64, noted, "all that was noted");
    assert!(are_whole(&records));
    assert!(
        spool.held() < 2 << 20,
        "the memory is given back: {}",
        spool.held()
    );
}

#[test]
fn prompts_leave_room_for_the_others_when_the_disk_takes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let spool = large(directory.path());
    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let file = spool.divert(full);
    let text = "a".repeat(256 << 10);
    let prompt = RequestPrompt {
        prompt: Whole(&text),
        ..RequestPrompt::default()
    };
    let mut noted = 0;
    for _ in 0..100 {
        noted += u64::from(spool.note(&prompt, NOW).is_noted());
        let _ = spool.keep_all();
    }
    assert!(noted > 8 && noted < 24, "{noted}");
    assert_eq!(spool.lost(), 100 - noted, "they are counted");
    for _ in 0..1000 {
        assert!(start(&spool, "meanwhile").is_noted());
        let _ = spool.keep_all();
    }
    drop(spool.divert(file));
    spool.keep_all().unwrap();
    assert!(spool.note(&prompt, NOW).is_noted(), "there is room again");
    spool.keep_all().unwrap();
    let records = records(directory.path());
    assert_eq!(records.len() as u64, noted + 1001);
    assert!(are_whole(&records));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The machine loses power: of the last segment nothing is there behind any byte, or something
    /// else is.
    #[test]
    fn a_cut_anywhere_costs_only_what_is_behind_it(share in 0.0..1.0f64, garbage: Vec<u8>) {
        let directory = tempfile::tempdir().unwrap();
        let spool = large(directory.path());
        for nth in 0..20 {
            start(&spool, &nth.to_string());
            spool.keep_all().unwrap();
        }
        drop(spool);
        let path = segment::path(directory.path(), 1);
        let mut bytes = fs::read(&path).unwrap();
        bytes.truncate((bytes.len() as f64 * share) as usize);
        let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
        let is_cut_in_header = lines == 0;
        bytes.extend(garbage.iter().filter(|byte| **byte != b'\n'));
        fs::write(&path, &bytes).unwrap();

        let (spool, found) = open(directory.path(), 1 << 30, WhenFull::Refuse);
        let left = lines.saturating_sub(1);
        prop_assert_eq!(spool.written(), left as u64);
        prop_assert_eq!(found.aborted.len(), left);
        let is_torn = !bytes.is_empty() && bytes.last() != Some(&b'\n');
        prop_assert_eq!(found.damaged.is_some(), is_torn && !is_cut_in_header);
        end(&spool, "0");
        spool.keep_all().unwrap();
        let records = records(directory.path());
        prop_assert_eq!(records.len(), left + 1);
        prop_assert!(are_whole(&records));
    }
}
