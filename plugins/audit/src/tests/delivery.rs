use std::fs;

use super::*;
use crate::delivery::{Delivery, Step, first_delivered, last_delivered};
use crate::sinks::file::{FileSink, Files, Options, rotated};
use crate::verify::{Beginnings, Fault, First, Verifier};
use crate::{Format, Stream};

/// Hands on until there is nothing left, or the sink is away; answers how many records it missed.
fn drain(delivery: &mut Delivery, spool: &Spool, now: u64) -> u64 {
    let mut missed = 0;
    loop {
        match delivery.step(spool.number(), now).unwrap() {
            Step::Idle | Step::Away { .. } => return missed,
            Step::Delivered(_) => {}
            Step::Missed { count, .. } => missed += count,
        }
    }
}

#[test]
fn a_sink_that_is_away_for_ten_minutes_misses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let spool = large(directory.path());
    let memory = Memory::default();
    let boxed = Box::new(memory.clone());
    let mut delivery = Delivery::open("memory".into(), boxed, directory.path());
    memory.is_away.store(true, Relaxed);
    let (mut now, mut total) = (NOW, 0);
    for _ in 0..600 {
        for _ in 0..250 {
            start(&spool, "a");
            end(&spool, "a");
            total += 2;
        }
        spool.keep_all().unwrap();
        drain(&mut delivery, &spool, now);
        spool.tidy(delivery.passed());
        now += 1_000;
    }
    assert_eq!(total, 300_000);
    assert!(memory.taken.lock().unwrap().is_empty());
    assert!(
        delivery.held() < 1 << 20 && spool.held() < 1 << 20,
        "memory is bounded"
    );
    memory.is_away.store(false, Relaxed);
    assert_eq!(drain(&mut delivery, &spool, now + 30_000), 0);
    let taken = memory.taken.lock().unwrap();
    assert!(taken.iter().copied().eq(1..=300_000), "all, once, in order");
    delivery.finish(now).unwrap();
    spool.tidy(delivery.passed());
    assert_eq!(segment::numbers(directory.path()).unwrap().len(), 1);
}

#[test]
fn how_far_behind_a_sink_is_goes_by_what_it_does_not_have() {
    let directory = tempfile::tempdir().unwrap();
    let spool = large(directory.path());
    let memory = Memory::default();
    let boxed = Box::new(memory.clone());
    let mut delivery = Delivery::open("memory".into(), boxed, directory.path());
    start(&spool, "a");
    spool.keep_all().unwrap();
    memory.is_away.store(true, Relaxed);
    drain(&mut delivery, &spool, NOW + 5_000);
    assert_eq!((delivery.failed(), delivery.reached()), (1, NOW));
    drain(&mut delivery, &spool, NOW + 10_000);
    assert_eq!((delivery.failed(), delivery.reached()), (2, NOW));
    memory.is_away.store(false, Relaxed);
    let taken = delivery.step(spool.number(), NOW + 20_000).unwrap();
    assert_eq!((taken, delivery.reached()), (Step::Delivered(1), NOW));
    drain(&mut delivery, &spool, NOW + 20_000);
    assert_eq!(delivery.reached(), NOW + 20_000, "there is no more");
}

#[test]
fn what_is_dropped_is_counted_to_the_record() {
    let directory = tempfile::tempdir().unwrap();
    let (spool, _) = open(directory.path(), 1 << 20, WhenFull::DropOldest);
    let memory = Memory::default();
    let boxed = Box::new(memory.clone());
    let mut delivery = Delivery::open("memory".into(), boxed, directory.path());
    drain(&mut delivery, &spool, NOW);
    memory.is_away.store(true, Relaxed);
    let total = 10_000;
    for _ in 0..total {
        let mark = start(&spool, "a");
        assert!(spool.keep(mark).is_ok() && !spool.refuses());
        spool.tidy(delivery.passed());
    }
    assert!(spool.bytes() <= (1 << 20) + (128 << 10));
    drain(&mut delivery, &spool, NOW);
    memory.is_away.store(false, Relaxed);
    let missed = drain(&mut delivery, &spool, NOW + 60_000);
    let taken = memory.taken.lock().unwrap();
    assert!(missed > 0);
    assert_eq!(missed + taken.len() as u64, total);
    assert_eq!(taken.last(), Some(&total));
}

#[test]
fn what_a_receiver_has_lost_comes_again_and_what_is_missing_is_told_once() {
    let directory = tempfile::tempdir().unwrap();
    let (spool, _) = open(directory.path(), 1 << 20, WhenFull::DropOldest);
    let memory = Memory::default();
    let boxed = Box::new(memory.clone());
    let mut delivery = Delivery::open("memory".into(), boxed, directory.path());
    drain(&mut delivery, &spool, NOW);
    for _ in 0..10_000 {
        start(&spool, "a");
        spool.keep_all().unwrap();
        spool.tidy(delivery.passed());
    }
    memory.has_lost.store(true, Relaxed);
    let mut now = NOW;
    let mut missed = drain(&mut delivery, &spool, now);
    assert!(missed > 0);
    assert!(!memory.taken.lock().unwrap().is_empty());
    assert_eq!(delivery.seq(), 0, "nothing is the receiver's");
    for _ in 0..3 {
        now += 30_000;
        missed += drain(&mut delivery, &spool, now);
    }
    memory.taken.lock().unwrap().clear();
    memory.has_lost.store(false, Relaxed);
    missed += drain(&mut delivery, &spool, now + 30_000);
    let taken = memory.taken.lock().unwrap();
    assert_eq!(missed + taken.len() as u64, 10_000);
    assert!(taken.iter().copied().eq(missed + 1..=10_000));
}

#[test]
fn two_gaps_behind_what_is_confirmed_are_told_once() {
    let directory = tempfile::tempdir().unwrap();
    let (spool, _) = open(directory.path(), 1 << 20, WhenFull::Refuse);
    let memory = Memory::default();
    let boxed = Box::new(memory.clone());
    let mut delivery = Delivery::open("memory".into(), boxed, directory.path());
    drain(&mut delivery, &spool, NOW);
    for _ in 0..3_000 {
        start(&spool, "a");
        spool.keep_all().unwrap();
    }
    let numbers = segment::numbers(directory.path()).unwrap();
    assert!(numbers.len() >= 5, "{numbers:?}");
    for number in [numbers[1], numbers[3]] {
        fs::remove_file(segment::path(directory.path(), number)).unwrap();
    }
    memory.is_slow.store(true, Relaxed);
    let missed = drain(&mut delivery, &spool, NOW);
    let taken = memory.taken.lock().unwrap().clone();
    assert_eq!(missed + taken.len() as u64, 3_000);
    for round in 1..4 {
        memory.has_lost.store(true, Relaxed);
        drain(&mut delivery, &spool, NOW + round * 60_000);
        assert_eq!(delivery.seq(), 0, "nothing is the receiver's");
        memory.has_lost.store(false, Relaxed);
        memory.taken.lock().unwrap().clear();
        let again = drain(&mut delivery, &spool, NOW + round * 60_000 + 30_000);
        assert_eq!(again, 0, "told already");
        assert_eq!(*memory.taken.lock().unwrap(), taken);
    }
}

#[test]
fn a_sink_goes_on_where_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let spool = large(directory.path());
    let memory = Memory::default();
    for round in 1..4 {
        let boxed = Box::new(memory.clone());
        let mut delivery = Delivery::open("memory".into(), boxed, directory.path());
        start(&spool, "a");
        spool.keep_all().unwrap();
        drain(&mut delivery, &spool, NOW);
        delivery.finish(NOW).unwrap();
        assert!(memory.taken.lock().unwrap().iter().copied().eq(1..=round));
    }
}

#[test]
fn where_a_sink_began_when_it_was_new_is_noted() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    // Each start begins a segment; answers where both sinks began.
    let serve = |names: &[&str]| {
        let spool = large(directory);
        start(&spool, "a");
        start(&spool, "b");
        spool.keep_all().unwrap();
        let mut passed = u64::MAX;
        for name in names {
            let memory = Box::new(Memory::default());
            let mut delivery = Delivery::open((*name).to_owned(), memory, directory);
            drain(&mut delivery, &spool, NOW);
            delivery.finish(NOW).unwrap();
            passed = passed.min(delivery.passed());
        }
        spool.tidy(passed);
        names
            .iter()
            .map(|name| first_delivered(directory, name).map(|(_, seq)| seq))
            .collect::<Vec<_>>()
    };
    assert_eq!(serve(&["one"]), [Some(1)]);
    assert_eq!(serve(&["one"]), [Some(1)]);
    // What only the last start wrote is kept for one that is new.
    assert_eq!(serve(&["one", "two"]), [Some(1), Some(3)]);
    assert_eq!(serve(&["one", "two"]), [Some(1), Some(3)]);
    let last = ("00c0ffee".to_owned(), 8);
    assert_eq!(last_delivered(directory, "two"), Some(last));
    assert_eq!(first_delivered(directory, "three"), None);
}

#[test]
fn where_a_sink_begins_is_noted_before_there_is_a_record() {
    let directory = tempfile::tempdir().unwrap();
    let spool = large(directory.path());
    for _ in 0..2 {
        let memory = Box::new(Memory::default());
        let mut delivery = Delivery::open("memory".into(), memory, directory.path());
        drain(&mut delivery, &spool, NOW);
        let first = first_delivered(directory.path(), "memory");
        assert_eq!(first, Some(("00c0ffee".to_owned(), 1)));
        start(&spool, "a");
        spool.keep_all().unwrap();
    }
}

#[test]
fn a_sink_does_not_begin_with_a_chain_that_it_was_handed_nothing_of() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let serve = |boot: &str, chain: &str, records: usize| {
        let (spool, _) = open_in(boot, chain, directory, 1 << 20, WhenFull::Refuse);
        let memory = Box::new(Memory::default());
        let mut delivery = Delivery::open("memory".into(), memory, directory);
        // It has looked before there is a record, and once it has.
        drain(&mut delivery, &spool, NOW);
        for _ in 0..records {
            start(&spool, "a");
        }
        spool.keep_all().unwrap();
        drain(&mut delivery, &spool, NOW);
        delivery.finish(NOW).unwrap();
        first_delivered(directory, "memory")
    };
    let first = |chain: &str| Some((chain.to_owned(), 1));
    assert_eq!(serve("one", "00c0ffee", 0), first("00c0ffee"));
    assert_eq!(serve("two", "00c0ffef", 0), first("00c0ffef"));
    assert_eq!(serve("three", "00c0fff0", 2), first("00c0fff0"));
    assert_eq!(serve("four", "00c0fff1", 2), first("00c0fff0"));
}

#[test]
fn a_place_that_was_saved_without_the_first_record_is_gone_on_from() {
    let directory = tempfile::tempdir().unwrap();
    let spool = large(directory.path());
    let memory = Memory::default();
    let open = || Delivery::open("memory".into(), Box::new(memory.clone()), directory.path());
    start(&spool, "a");
    spool.keep_all().unwrap();
    drain(&mut open(), &spool, NOW);
    let saved = crate::delivery::saved_in(directory.path(), "memory");
    let text = fs::read_to_string(&saved).unwrap();
    let before = text.split(",\"first\"").next().unwrap().to_owned() + "}";
    fs::write(&saved, &before).unwrap();
    start(&spool, "b");
    spool.keep_all().unwrap();
    drain(&mut open(), &spool, NOW + 60_000);
    assert_eq!(
        *memory.taken.lock().unwrap(),
        [1, 2],
        "none twice: {before}"
    );
    assert_eq!(first_delivered(directory.path(), "memory"), None);
}

fn file(directory: &Path, max: u64, keep: u32) -> FileSink {
    FileSink::new(Options {
        path: directory.join("audit.jsonl"),
        format: Format::Json,
        max,
        keep,
    })
}

#[test]
fn a_file_has_each_record_once_though_its_place_was_not_saved() {
    let directory = tempfile::tempdir().unwrap();
    let spool = large(&directory.path().join("spool"));
    let path = directory.path().join("audit.jsonl");
    for _ in 0..3 {
        // As after a kill: its place is not saved, and the last line may be torn.
        let sink = Box::new(file(directory.path(), 1 << 30, 1));
        let mut delivery = Delivery::open("file".into(), sink, spool.directory());
        start(&spool, "a");
        spool.keep_all().unwrap();
        drain(&mut delivery, &spool, NOW);
        let mut bytes = fs::read(&path).unwrap();
        bytes.extend_from_slice(b"{\"v\":1,\"chain\":\"");
        fs::write(&path, bytes).unwrap();
        fs::read_dir(spool.directory()).unwrap().for_each(|file| {
            let path = file.unwrap().path();
            if path.extension().is_some_and(|kind| kind == "cursor") {
                fs::remove_file(path).unwrap();
            }
        });
    }
    let text = fs::read_to_string(&path).unwrap();
    let whole: Vec<_> = text
        .split_inclusive('\n')
        .filter(|line| line.ends_with('\n'))
        .collect();
    assert_eq!(whole.len(), 3, "{text}");
}

#[test]
fn a_file_is_whole_though_a_process_was_killed_at_a_long_record() {
    use crate::events::RequestPrompt;
    use crate::json::Whole;
    use crate::record::{Chain, NONE};
    // The longest there can be: each of its characters is escaped.
    for prompt in ["ä".repeat(50_000), "\u{1}".repeat(256 << 10)] {
        let mut chain = Chain::at("5f0c9a1e22b7d340".into(), 0, NONE, "host-1");
        let mut batch = Batch::default();
        for (seq, prompt) in [(1, "short"), (2, &prompt), (3, &prompt)] {
            let event = RequestPrompt {
                prompt: Whole(prompt),
                ..Default::default()
            };
            let mut record = Vec::new();
            chain.append(&event, NOW, &mut record);
            batch.push(&record, seq);
        }
        for format in [
            Format::Json,
            Format::Ocsf(Stream::Audit),
            Format::Ecs(Stream::Audit),
            Format::Cef,
        ] {
            let directory = tempfile::tempdir().unwrap();
            let options = Options {
                path: directory.path().join("audit"),
                format,
                max: 1 << 30,
                keep: 1,
            };
            let write = || {
                let mut sink = FileSink::new(options.clone());
                sink.begin("5f0c9a1e22b7d340", 0);
                sink.deliver(&batch).unwrap();
                fs::read(&options.path).unwrap()
            };
            let whole = write();
            assert!(write() == whole, "{format:?}: behind it");
            for cut in [1, 100, 64 << 10, 90_000] {
                fs::write(&options.path, &whole[..whole.len() - cut]).unwrap();
                assert!(write() == whole, "{format:?}: {cut} bytes within it");
            }
        }
    }
}

#[test]
fn a_file_is_renamed_when_it_is_large_and_made_anew_when_it_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let spool = large(&directory.path().join("spool"));
    let path = directory.path().join("audit.jsonl");
    let sink = Box::new(file(directory.path(), 1, 2));
    let mut delivery = Delivery::open("file".into(), sink, spool.directory());
    let mut tell = |times| {
        for _ in 0..times {
            start(&spool, "a");
            spool.keep_all().unwrap();
            drain(&mut delivery, &spool, NOW);
        }
    };
    tell(4);
    assert!(!path.exists());
    let read = |path| fs::read_to_string(path).unwrap();
    assert!(read(rotated(&path, 1)).contains("\"seq\":4,"));
    assert!(read(rotated(&path, 2)).contains("\"seq\":3,"));
    assert!(!rotated(&path, 3).exists());

    let sink = Box::new(file(directory.path(), 1 << 30, 2));
    let mut delivery = Delivery::open("another".into(), sink, spool.directory());
    drain(&mut delivery, &spool, NOW);
    fs::rename(&path, directory.path().join("moved")).unwrap();
    start(&spool, "a");
    spool.keep_all().unwrap();
    drain(&mut delivery, &spool, NOW);
    assert!(read(path).contains("\"seq\":5,"));
}

/// What is wrong with the files of the sink `file`, of which there are to be so many.
fn wrong(directory: &Path, spool: &Spool, keep: u32) -> Vec<Fault> {
    let files = Files::open(&directory.join("audit.jsonl"), keep).unwrap();
    let handed = first_delivered(spool.directory(), "file");
    let mut verifier = Verifier::new(Vec::new()).beginning(Beginnings {
        handed: handed.map(|(chain, seq)| First { chain, seq }),
        is_full: files.is_full,
        ..Default::default()
    });
    for (path, _) in &files.all {
        for line in fs::read_to_string(path).unwrap().lines() {
            verifier.read("f", line.as_bytes());
        }
    }
    verifier.wants_beginnings();
    let found = verifier.found().iter();
    found.map(|found| found.fault.clone()).collect()
}

#[test]
fn what_rotation_removed_is_no_fault_and_what_somebody_removed_is() {
    for keep in [0, 1, 3] {
        let directory = tempfile::tempdir().unwrap();
        let spool = large(&directory.path().join("spool"));
        let sink = Box::new(file(directory.path(), 1, keep));
        let mut delivery = Delivery::open("file".into(), sink, spool.directory());
        for records in 1..=9 {
            start(&spool, "a");
            spool.keep_all().unwrap();
            drain(&mut delivery, &spool, NOW);
            delivery.finish(NOW).unwrap();
            let wrong = wrong(directory.path(), &spool, keep);
            assert_eq!(wrong, [], "{records} records, {keep} files");
        }
        if keep < 3 {
            continue;
        }
        let path = directory.path().join("audit.jsonl");
        fs::remove_file(rotated(&path, keep)).unwrap();
        let headless = Fault::Headless { from: 1, first: 8 };
        assert_eq!(wrong(directory.path(), &spool, keep), [headless]);
    }
}

#[test]
fn files_are_read_once_and_all_though_they_are_renamed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.jsonl");
    fs::write(&path, "3").unwrap();
    // As it is found where the sink renames it meanwhile.
    fs::hard_link(&path, rotated(&path, 1)).unwrap();
    fs::write(rotated(&path, 2), "2").unwrap();
    fs::write(rotated(&path, 4), "1").unwrap();
    fs::write(rotated(&path, 5), "0").unwrap();
    for (keep, expected, is_full) in [
        (0, &["3"][..], true),
        (2, &["2", "3"], true),
        (3, &["2", "3"], false),
        (4, &["1", "2", "3"], true),
    ] {
        let files = Files::open(&path, keep).unwrap();
        let texts = files.all.iter().map(|(path, _)| fs::read_to_string(path));
        let texts: Vec<_> = texts.map(Result::unwrap).collect();
        assert_eq!(texts, expected, "{keep}");
        assert_eq!(files.is_full, is_full, "{keep}");
    }
    let files = Files::open(&directory.path().join("none"), 3).unwrap();
    assert!(files.all.is_empty() && !files.is_full);
}
