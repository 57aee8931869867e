use super::*;
use crate::events::{Used, Who};
use crate::record::{Chain, NONE};
use crate::verify::{Before, Beginnings, Fault, First, Verifier};
use crate::{Event, SigningKey};

/// Twelve records, the last of them a checkpoint.
fn twelve() -> Vec<Vec<u8>> {
    let directory = tempfile::tempdir().unwrap();
    let spool = large(directory.path());
    for nth in 0..11 {
        start(&spool, &format!("d{nth}\n\u{7f}\""));
    }
    spool.sign(&key(7), NOW);
    spool.keep_all().unwrap();
    records(directory.path())
}

fn key(seed: u8) -> SigningKey {
    SigningKey::of(&[seed; 32]).unwrap()
}

fn faults(records: &[Vec<u8>]) -> Vec<Fault> {
    let mut verifier = Verifier::new(vec![key(7).public().to_owned()]);
    records.iter().for_each(|line| verifier.read("f", line));
    let chain = verifier.summaries().first().map(|one| one.chain.clone());
    verifier.ends(&chain.unwrap_or_default(), 12);
    let found = verifier.found().iter();
    found.map(|found| found.fault.clone()).collect()
}

#[test]
fn what_was_written_is_as_it_was() {
    let records = twelve();
    assert_eq!(records.len(), 12);
    assert_eq!(faults(&records), []);
    let mut again = records.clone();
    again.splice(5..5, records[2..5].to_vec());
    assert_eq!(faults(&again), [], "sinks are handed some records twice");
}

#[test]
fn a_chain_without_a_checkpoint_is_a_fault_for_who_wants_signatures() {
    let records = twelve();
    let wanting = |records: &[Vec<u8>]| {
        let mut verifier = Verifier::new(vec![key(7).public().to_owned()]);
        records.iter().for_each(|line| verifier.read("f", line));
        assert_eq!(verifier.found(), []);
        verifier.wants_signatures();
        let found = verifier.found().iter();
        found.map(|found| found.fault.clone()).collect::<Vec<_>>()
    };
    assert_eq!(wanting(&records), []);
    assert_eq!(wanting(&records[..11]), [Fault::NeverSigned]);
    assert_eq!(wanting(&[]), [Fault::NeverSigned], "nothing signs nothing");
}

#[test]
fn any_byte_that_changes_is_found() {
    let records = twelve();
    for nth in [0, 5, 11] {
        for at in 0..records[nth].len() {
            let mut changed = records.clone();
            changed[nth][at] ^= 1;
            assert_ne!(faults(&changed), [], "byte {at} of record {}", nth + 1);
        }
    }
    let mut changed = records;
    let at = memchr::memmem::find(&changed[4], b"gpt-4o").unwrap();
    changed[4][at] = b'h';
    assert_eq!(faults(&changed), [Fault::Altered { seq: 5 }]);
}

#[test]
fn any_record_that_is_gone_is_named() {
    let records = twelve();
    let headless = Fault::Headless { from: 1, first: 2 };
    assert_eq!(faults(&records[1..]), [headless]);
    for nth in 1..11 {
        let mut fewer = records.clone();
        fewer.remove(nth);
        let seq = nth as u64 + 1;
        assert_eq!(faults(&fewer), [Fault::Missing { from: seq, to: seq }]);
    }
    let truncated = Fault::Truncated { after: 9, to: 12 };
    assert_eq!(faults(&records[..9]), [truncated]);
}

/// What is wrong with the beginnings of chains, and what is before their first records.
fn begun(records: &[Vec<u8>], known: Beginnings) -> (Vec<Fault>, Vec<Before>) {
    let mut verifier = Verifier::new(Vec::new()).beginning(known);
    records.iter().for_each(|line| verifier.read("f", line));
    verifier.wants_beginnings();
    let found = verifier.found().iter().map(|found| found.fault.clone());
    let before = verifier.summaries().into_iter().map(|chain| chain.before);
    (found.collect(), before.collect())
}

fn first(chain: &str, seq: u64) -> First {
    let chain = chain.to_owned();
    First { chain, seq }
}

#[test]
fn a_chain_begins_late_where_that_is_known() {
    let records = twelve();
    let stated = |chain, seq| Beginnings {
        stated: vec![first(chain, seq)],
        ..Default::default()
    };
    let handed = |seq| Beginnings {
        handed: Some(first("00c0ffee", seq)),
        ..Default::default()
    };
    let full = |known| Beginnings {
        is_full: true,
        ..known
    };
    let nothing = Beginnings::default();
    let from_5 = |known| begun(&records[4..], known);
    for (known, before) in [
        (stated("", 5), Before::Elsewhere),
        (stated("", 7), Before::Elsewhere),
        (stated("00c0ffee", 5), Before::Elsewhere),
        (handed(5), Before::Older),
        (full(nothing.clone()), Before::Rotated),
        (full(handed(1)), Before::Rotated),
    ] {
        let told = format!("{known:?}");
        assert_eq!(from_5(known), (vec![], vec![before]), "{told}");
    }
    for (known, from) in [
        (nothing.clone(), 1),
        (handed(1), 1),
        (handed(4), 4),
        (stated("", 4), 4),
        // Who says where it begins knows better than the rest does.
        (full(stated("", 4)), 4),
    ] {
        let told = format!("{known:?}");
        let fault = Fault::Headless { from, first: 5 };
        let before = Before::Missing { from };
        assert_eq!(from_5(known), (vec![fault], vec![before]), "{told}");
    }
    for known in [nothing, handed(1), handed(5), stated("", 5)] {
        assert_eq!(begun(&records, known), (vec![], vec![Before::Nothing]));
    }
}

#[test]
fn a_chain_that_comes_after_another_begins_with_its_first_record() {
    let older = twelve();
    let later = {
        let directory = tempfile::tempdir().unwrap();
        let spool = open_in(
            "next",
            "00c0ffef",
            directory.path(),
            1 << 30,
            WhenFull::Refuse,
        )
        .0;
        for _ in 0..4 {
            start(&spool, "d");
        }
        spool.keep_all().unwrap();
        records(directory.path())
    };
    let rotated = || Beginnings {
        is_full: true,
        ..Default::default()
    };
    let both = |older: &[Vec<u8>], later: &[Vec<u8>]| [older, later].concat();
    let (faults, before) = begun(&both(&older[4..], &later), rotated());
    assert_eq!(
        (faults, before),
        (vec![], vec![Before::Rotated, Before::Nothing])
    );
    // Rotation removes what is before all files, and nothing between them.
    let (faults, _) = begun(&both(&older[4..], &later[2..]), rotated());
    assert_eq!(faults, [Fault::Headless { from: 1, first: 3 }]);
    let known = Beginnings {
        stated: vec![first("", 5), first("00c0ffef", 3)],
        ..Default::default()
    };
    assert_eq!(begun(&both(&older[4..], &later[2..]), known).0, []);

    // All of the older one is gone.
    let known = |stated: &[First], is_full| Beginnings {
        stated: stated.to_vec(),
        handed: Some(first("00c0ffee", 1)),
        is_full,
    };
    let gone = Fault::Gone { from: 1 };
    assert_eq!(
        begun(&later, known(&[], false)).0,
        std::slice::from_ref(&gone)
    );
    assert_eq!(begun(&later, known(&[], true)).0, []);
    assert_eq!(begun(&later, known(&[first("", 1)], false)).0, []);
    let named = [first("00c0ffee", 1)];
    assert_eq!(
        begun(&later, known(&named, true)).0,
        std::slice::from_ref(&gone)
    );
    assert_eq!(begun(&[], known(&[first("", 1)], true)).0, [gone]);
}

#[test]
fn what_is_missing_at_the_beginning_is_told_in_words() {
    let told = |fault: Fault| fault.to_string();
    assert_eq!(
        told(Fault::Headless { from: 1, first: 2 }),
        "the chain begins with record 2: record 1 is missing"
    );
    assert_eq!(
        told(Fault::Headless { from: 3, first: 9 }),
        "the chain begins with record 9: records 3 to 8 are missing"
    );
}

#[test]
fn records_that_change_places_are_named() {
    let mut records = twelve();
    records.swap(6, 7);
    let missing = Fault::Missing { from: 7, to: 7 };
    let misplaced = Fault::Misplaced { seq: 7, after: 8 };
    assert_eq!(faults(&records), [missing, misplaced]);
}

#[test]
fn a_chain_written_anew_does_not_fit() {
    let (records, other) = (twelve(), {
        let directory = tempfile::tempdir().unwrap();
        let spool = large(directory.path());
        for _ in 0..11 {
            end(&spool, "another");
        }
        spool.sign(&key(8), NOW);
        spool.keep_all().unwrap();
        records(directory.path())
    });
    assert_eq!(
        faults(&other),
        [Fault::BadSignature { seq: 12 }],
        "another key signed it"
    );
    let mut mixed = records.clone();
    mixed[3] = other[3].clone();
    assert_eq!(
        faults(&mixed),
        [Fault::Unlinked { seq: 4 }, Fault::Unlinked { seq: 5 }]
    );
    let mut mixed = records;
    mixed.insert(4, other[2].clone());
    assert_eq!(faults(&mixed), [Fault::Twice { seq: 3 }]);
}

/// Records at these times, in seconds; at `None` a checkpoint.
fn at_times(times: impl IntoIterator<Item = Option<u64>>) -> Vec<Fault> {
    let directory = tempfile::tempdir().unwrap();
    let spool = large(directory.path());
    let mut now = 0;
    for time in times {
        match time {
            Some(seconds) => {
                now = NOW + seconds * 1000;
                spool.note(&crate::events::Stopped {}, now);
            }
            None => {
                spool.sign(&key(7), now);
            }
        }
    }
    spool.keep_all().unwrap();
    let mut verifier = Verifier::new(Vec::new());
    let records = records(directory.path());
    records.iter().for_each(|line| verifier.read("f", line));
    verifier
        .found()
        .iter()
        .map(|found| found.fault.clone())
        .collect()
}

#[test]
fn a_chain_that_nobody_signed_is_found() {
    let steady = |seconds: u64| (0..seconds).map(Some);
    assert_eq!(at_times(steady(300)), []);
    let unsigned = Fault::Unsigned { from: 1, to: 302 };
    assert_eq!(at_times(steady(400)), [unsigned]);
    // An old checkpoint that is put in again signs nothing.
    let directory = tempfile::tempdir().unwrap();
    let spool = large(directory.path());
    spool.note(&crate::events::Stopped {}, NOW);
    spool.sign(&key(7), NOW);
    for minute in 0..20 {
        spool.note(&crate::events::Stopped {}, NOW + minute * 60_000);
    }
    spool.keep_all().unwrap();
    let mut records = records(directory.path());
    for at in [20, 16, 12, 8] {
        records.insert(at, records[1].clone());
    }
    let unsigned = |fault: &Fault| matches!(fault, Fault::Unsigned { from: 3, .. });
    let mut verifier = Verifier::new(Vec::new());
    records.iter().for_each(|line| verifier.read("f", line));
    assert!(verifier.found().iter().any(|found| unsigned(&found.fault)));

    let minutes =
        (0..40).flat_map(|minute| (0..60).map(move |at| Some(minute * 60 + at)).chain([None]));
    assert_eq!(at_times(minutes), []);
    // Few records, far from each other: each is signed a minute later.
    let rare = (0..40).flat_map(|hour| [Some(hour * 3600), None]);
    assert_eq!(at_times(rare), []);
    // The machine slept.
    assert_eq!(at_times([Some(0), Some(1), Some(40_000), Some(40_001)]), []);
}

#[test]
fn records_are_as_documented() {
    let text = String::from_utf8(twelve().remove(0)).unwrap();
    let zeros = "0".repeat(64);
    let begin = format!(
        r#"{{"v":1,"chain":"00c0ffee","replica":"here","seq":1,"prev":"{zeros}","time":"2026-09-21T14:13:20.000Z","event":"request.start","request":"r","decision":"d0\u000a\u007f\"","trace":"","operation":"chat_completions","model":"gpt-4o","generation":0,"hash":""#
    );
    assert!(text.starts_with(&begin), "{text}");
}

/// What verifies and reads records elsewhere goes by these bytes.
#[test]
fn records_of_a_call_are_these_bytes() {
    let who = Who {
        name: Some("ada@example.com"),
        issuer: Some("https://idp.example.com"),
        subject: Some("00u1 \"ä\"\t"),
        ..Who::default()
    };
    let start = RequestStart {
        request: "019aa7e2-5f6b-7c3d-8e4f-1a2b3c4d5e6f",
        decision: "d",
        trace: "4bf92f3577b34da6a3ce929d0e0e4736",
        who: who.clone(),
        client: Some([10, 1, 20, 203].into()),
        operation: "chat_completions",
        model: Some("gpt-4o"),
        generation: 3,
        ..Default::default()
    };
    let end = RequestEnd {
        request: start.request,
        decision: "d",
        outcome: "answered",
        status: 200,
        stream: true,
        used: Some(Used {
            input: 1234,
            ..Used::default()
        }),
        ..Default::default()
    };
    let mut chain = Chain::at("00c0ffee".to_owned(), 9, NONE, "turnpike-7d9f8c6b5-abcde");
    let mut lines = Vec::new();
    for (event, now) in [(&start as &dyn Event, NOW), (&end, NOW + 1234)] {
        let begin = segment::begin(&mut lines);
        chain.append(event, now, &mut lines);
        segment::frame(&mut lines, begin);
    }
    assert_eq!(String::from_utf8(lines).unwrap(), include_str!("call.seg"));
}
