//! A machine that was started anew: another chain goes on, and sinks are still on the one before.

use super::*;
use crate::delivery::{Delivery, Step};

const OLDER: &str = "00c0ffee";
const PRESENT: &str = "00c0ffef";

/// Hands on until there is nothing left; answers with what it missed.
fn drain(delivery: &mut Delivery, spool: &Spool, now: u64) -> Vec<(String, u64, u64)> {
    let mut all = Vec::new();
    loop {
        match delivery.step(spool.number(), now).unwrap() {
            Step::Idle | Step::Away { .. } => return all,
            Step::Delivered(_) => {}
            Step::Missed { chain, from, count } => all.push((chain, from, count)),
        }
    }
}

fn tell(spool: &Spool, records: u64) {
    for _ in 0..records {
        start(spool, "a");
        spool.keep_all().unwrap();
    }
}

fn delivery(memory: &Memory, directory: &Path) -> Delivery {
    Delivery::open("memory".into(), Box::new(memory.clone()), directory)
}

fn present(directory: &Path, when_full: WhenFull) -> Spool {
    open_in("another", PRESENT, directory, 1 << 20, when_full).0
}

#[test]
fn a_sink_on_an_older_chain_is_behind() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let memory = Memory::default();
    let (spool, _) = open(directory, 1 << 20, WhenFull::Refuse);
    tell(&spool, 5);
    let mut sink = delivery(&memory, directory);
    drain(&mut sink, &spool, NOW);
    sink.finish(NOW).unwrap();
    tell(&spool, 2);
    drop((sink, spool));

    let spool = present(directory, WhenFull::Refuse);
    tell(&spool, 3);
    memory.is_away.store(true, Relaxed);
    let mut sink = delivery(&memory, directory);
    drain(&mut sink, &spool, NOW + 60_000);
    assert_eq!(
        sink.place_in(spool.chain()),
        (2, 0),
        "two of the older chain"
    );
    assert_eq!(sink.reached(), NOW);
    memory.is_away.store(false, Relaxed);
    assert_eq!(drain(&mut sink, &spool, NOW + 61_000), []);
    assert_eq!(sink.place_in(spool.chain()), (0, 3));
    assert_eq!(
        *memory.taken.lock().unwrap(),
        [1, 2, 3, 4, 5, 6, 7, 1, 2, 3]
    );
}

#[test]
fn what_is_dropped_of_older_chains_is_counted() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let memory = Memory::default();
    let (spool, _) = open(directory, 1 << 20, WhenFull::DropOldest);
    tell(&spool, 10);
    let mut sink = delivery(&memory, directory);
    drain(&mut sink, &spool, NOW);
    sink.finish(NOW).unwrap();
    tell(&spool, 490);
    drop((sink, spool));
    // It is away while the machine is started twice, and all of two chains is dropped.
    let between = open_in(
        "between",
        "00c0ffed",
        directory,
        1 << 20,
        WhenFull::DropOldest,
    )
    .0;
    tell(&between, 7);
    drop(between);
    let spool = present(directory, WhenFull::DropOldest);
    for _ in 0..40 {
        tell(&spool, 250);
        spool.tidy(0);
    }
    memory.has_lost.store(true, Relaxed);
    let mut sink = delivery(&memory, directory);
    let mut missed = drain(&mut sink, &spool, NOW + 1_000);
    memory.has_lost.store(false, Relaxed);
    memory.taken.lock().unwrap().clear();
    // It comes to the gap again.
    missed.extend(drain(&mut sink, &spool, NOW + 60_000));
    let [older, between, (chain, from, count)] = &missed[..] else {
        panic!("{missed:?}");
    };
    assert_eq!(older, &(OLDER.to_owned(), 11, 490));
    assert_eq!(between, &("00c0ffed".to_owned(), 1, 7));
    assert_eq!((chain.as_str(), *from), (PRESENT, 1));
    let taken = memory.taken.lock().unwrap();
    assert!(taken.iter().copied().eq(count + 1..=10_000));
}

#[test]
fn a_call_of_an_older_chain_that_was_aborted_names_it() {
    let directory = tempfile::tempdir().unwrap();
    let (spool, _) = open(directory.path(), 1 << 20, WhenFull::Refuse);
    start(&spool, "open");
    spool.keep_all().unwrap();
    drop(spool);
    let log = |boot: &str, chain: &str| {
        let settings = crate::Settings {
            terms: Terms {
                directory: directory.path().to_owned(),
                max: 1 << 20,
                when_full: WhenFull::Refuse,
                boot: boot.to_owned(),
            },
            chain: chain.to_owned(),
            replica: "here".to_owned(),
            key: crate::SigningKey::of(&[7; 32]).unwrap(),
            clock: Arc::new(receivers::Now::new()),
        };
        // What a sink is not handed stays to be read here.
        let memory = Memory::default();
        memory.is_away.store(true, Relaxed);
        let memory: Box<dyn Sink> = Box::new(memory);
        crate::Log::open(settings, vec![("memory".to_owned(), memory)]).unwrap()
    };
    drop(log("another", PRESENT));
    let records = records(directory.path());
    let record = |nth: usize| str::from_utf8(&records[nth]).unwrap().to_owned();
    let named = format!(r#""start_seq":1,"start_chain":"{OLDER}""#);
    assert!(record(1).contains("request.aborted") && record(1).contains(&named));
}
