//! What is added up while it is noted is what the journal says, whatever happens meanwhile.

use std::sync::atomic::AtomicBool;
use std::thread;

use proptest::prelude::*;

use super::super::journal::{Complete, Segment};
use super::super::sums::Sums;
use super::super::tally;
use super::*;

/// All there is in sums, in order.
fn rows(sums: &Sums) -> Vec<String> {
    let spent = sums.spent().map(|row| format!("{row:?}"));
    let usage = sums
        .usage()
        .map(|(key, used)| format!("{:?}", key.row(*used)));
    let mut rows: Vec<_> = spent.chain(usage).collect();
    rows.sort();
    rows
}

/// What the file of a journal says: all of its lines whole.
fn read(segment: &Segment) -> Sums {
    let mut sums = Sums::default();
    assert_eq!(fold::read(segment, &mut sums).unwrap(), 0);
    sums
}

fn journal(bench: &Bench) -> Journal {
    Journal::begin(&bench.path(), 1).unwrap()
}

/// As a process that was killed now would leave it.
fn left(bench: &Bench) -> Bench {
    let left = Bench::new();
    let (from, to) = (bench.directory.path(), left.directory.path());
    let journals = std::fs::read_dir(from.join("t.db.usage")).unwrap();
    std::fs::create_dir(to.join("t.db.usage")).unwrap();
    let journals = journals.map(|file| file.unwrap().file_name());
    let journals = journals.map(|name| Path::new("t.db.usage").join(name));
    for name in ["t.db".into(), "t.db-wal".into()]
        .into_iter()
        .chain(journals)
    {
        if from.join(&name).exists() {
            std::fs::copy(from.join(&name), to.join(&name)).unwrap();
        }
    }
    left
}

/// Which credential and model, the numbers, whether estimated, and what it cost.
type Parts = (usize, usize, [u64; 8], bool, Option<u64>);

/// Few texts, so that keys meet; control characters where nobody should send any.
fn entries() -> impl Strategy<Value = Vec<Parts>> {
    let number = prop_oneof![0..3u64, 0..100_000u64, any::<u64>()];
    let numbers = prop::array::uniform8(number);
    let entry = (
        0..4usize,
        0..4usize,
        numbers,
        any::<bool>(),
        any::<Option<u64>>(),
    );
    prop::collection::vec(entry, 1..60)
}

proptest! {
    #[test]
    fn is_what_the_journal_says(entries in entries()) {
        const TEXTS: [&str; 4] = ["a", "b", "a\tb", "\u{fc}\n"];
        let bench = Bench::new();
        let journal = journal(&bench);
        for (credential, model, numbers, estimated, cost) in entries {
            let [at, period, input, output, cache_read, cache_write, reasoning, calls] = numbers;
            let payer = Payer {
                tenant: ["", "t"][model % 2],
                user: ["", "u"][credential % 2],
                ..Payer::default()
            };
            journal.note(&Entry {
                payer,
                credential: TEXTS[credential],
                model: TEXTS[model],
                at,
                period: period % 3,
                usage: Usage { input, output, cache_read, cache_write, reasoning },
                cost,
                estimated,
                calls: calls as u32,
            });
        }
        let Complete { segment, sums } = journal.rotate().unwrap().unwrap();
        prop_assert_eq!(rows(&sums.unwrap()), rows(&read(&segment)));
        prop_assert!(journal.rotate().unwrap().is_none());
    }
}

/// Pages turn one after the other while others are written to.
#[test]
fn is_what_the_journal_says_while_threads_go_on() {
    const THREADS: u64 = 3;
    const EACH: u64 = 10_000;
    let bench = Bench::new();
    let journal = journal(&bench);
    let done = AtomicBool::new(false);
    let mut calls = 0;
    let mut look = || {
        let Some(Complete { segment, sums }) = journal.rotate().unwrap() else {
            return;
        };
        let sums = sums.unwrap();
        assert_eq!(
            rows(&sums),
            rows(&read(&segment)),
            "journal {}",
            segment.seq
        );
        calls += sums.spent_of("a", 1).calls;
        segment.remove();
    };
    thread::scope(|scope| {
        let threads = (0..THREADS).map(|thread| {
            let journal = &journal;
            let models = ["m", "n"];
            let note = move |nth: u64| {
                let mark = journal.note(&entry("a", models[(nth / 7 % 2) as usize], nth));
                // Some are written by whoever comes next.
                if !(nth + thread).is_multiple_of(3) {
                    journal.keep(mark).unwrap();
                }
            };
            scope.spawn(move || (0..EACH).for_each(note))
        });
        let threads: Vec<_> = threads.collect();
        scope.spawn(|| {
            threads
                .into_iter()
                .for_each(|thread| thread.join().unwrap());
            done.store(true, Ordering::SeqCst);
        });
        while !done.load(Ordering::SeqCst) {
            look();
        }
    });
    look();
    assert_eq!(calls, THREADS * EACH);
}

#[test]
fn more_callers_than_are_added_up_are_read_from_the_journal() {
    let bench = Bench::new();
    let store = bench.lazy();
    let models: Vec<_> = (0..=tally::MOST).map(|nth| nth.to_string()).collect();
    for model in models.iter().chain(&models) {
        store.record(&entry("a", model, 1)).unwrap();
    }
    let all = 2 * models.len() as u64;
    assert_eq!(tokens(&store, "a"), all);
    let used = block_on(store.usage(0, u32::MAX)).unwrap();
    assert_eq!(used.len(), models.len());
    assert!(used.iter().all(|row| row.used.calls == 2));
    store.record(&entry("a", "m", 1)).unwrap();
    assert_eq!(
        tokens(&store, "a"),
        all + 1,
        "and the next one is added up again"
    );
}

#[test]
fn exactly_as_many_callers_as_are_added_up_need_no_reading() {
    let bench = Bench::new();
    let journal = journal(&bench);
    let note = |count: usize| {
        for model in 0..count {
            journal.note(&entry("a", &model.to_string(), 1));
        }
        journal.rotate().unwrap().unwrap()
    };
    let most = note(tally::MOST);
    assert_eq!(most.sums.unwrap().usage().count(), tally::MOST);
    let more = note(tally::MOST + 1);
    assert!(more.sums.is_none());
    assert_eq!(read(&more.segment).usage().count(), tally::MOST + 1);
}

/// Killed at any step from one journal to the next: each entry is counted once, by whoever comes.
#[test]
fn a_kill_between_the_steps_of_a_fold_changes_nothing() {
    let bench = Bench::new();
    drop(bench.store());
    let journal = journal(&bench);
    let record = |input| journal.keep(journal.note(&entry("a", "m", input))).unwrap();
    record(1);
    journal.note(&entry("a", "m", 20));
    assert_eq!(tokens(&left(&bench).store(), "a"), 1, "not kept yet");
    let Complete { segment, sums } = journal.rotate().unwrap().unwrap();
    record(300);
    assert_eq!(tokens(&left(&bench).store(), "a"), 321, "before the commit");

    let db = rusqlite::Connection::open(bench.path()).unwrap();
    let sums = sums.unwrap();
    for _ in 0..2 {
        // The second time as after a commit of which nobody knows what came.
        let transaction = db.unchecked_transaction().unwrap();
        fold::write(&transaction, &sums, segment.seq).unwrap();
        transaction.commit().unwrap();
        assert_eq!(
            tokens(&left(&bench).store(), "a"),
            321,
            "before it is removed"
        );
    }
    segment.remove();
    assert_eq!(tokens(&left(&bench).store(), "a"), 321, "after");
}
