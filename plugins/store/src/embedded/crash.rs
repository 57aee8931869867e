//! A process that is killed, at any moment, loses and doubles nothing.
//!
//! The test runs itself as a child that records from several threads while folding all the time,
//! and tells each entry's number once `record` has returned. Then it is killed.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use std::{collections::HashMap, env, io, thread};

use futures::executor::block_on;
use turnpike_api::{Clock, Directory, Entry, Expected, Ledger, Usage};

use super::Embedded;

/// Tells the child where the store is. Not set in an ordinary run.
const STORE: &str = "TURNPIKE_TEST_STORE";
const THREADS: u64 = 3;

struct Noon;

impl Clock for Noon {
    fn now(&self) -> u64 {
        1_800_000_000_000
    }
}

fn open(path: &std::path::Path) -> Embedded {
    // Nearly always folding, so that most kills hit it.
    Embedded::open_folding(path, Arc::new(Noon), Duration::from_micros(300)).unwrap()
}

/// The child: records for ever. Each entry has a model of its own, by which it is found again.
#[test]
#[ignore = "run by the test below, as a process of its own"]
fn child() {
    let Some(path) = env::var_os(STORE) else {
        return;
    };
    let store = open(&PathBuf::from(path));
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let store = &store;
            scope.spawn(move || (0..).for_each(|number| one(store, thread, number)));
        }
        // The database is written for other reasons, too.
        loop {
            let put = store.put("kind", "key", b"v", None, Expected::Anything);
            tell("put", block_on(put).unwrap().unwrap());
        }
    });
}

fn one(store: &Embedded, thread: u64, number: u64) {
    let number = number * THREADS + thread;
    store
        .record(&Entry {
            credential: "a",
            model: &number.to_string(),
            at: 0,
            period: 1,
            usage: Usage {
                input: 3,
                ..Usage::default()
            },
            estimated: false,
            calls: 1,
        })
        .unwrap();
    tell("entry", number);
}

/// In one write, so that the lines of the threads stay apart.
fn tell(what: &str, number: u64) {
    let line = format!("{what} {number}\n");
    io::stderr().write_all(line.as_bytes()).unwrap();
}

fn spawn(path: &std::path::Path) -> Child {
    Command::new(env::current_exe().unwrap())
        .args([
            "--exact",
            "embedded::crash::child",
            "--ignored",
            "--nocapture",
        ])
        .env(STORE, path)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What a child told before it was killed.
#[derive(Default)]
struct Told {
    entries: Vec<u64>,
    version: u64,
}

/// Kills the child after some of its lines, and reads what it told up to the last.
fn kill_after(mut child: Child, lines: usize) -> Told {
    let mut told = Told::default();
    let reader = BufReader::new(child.stderr.take().unwrap());
    for (at, line) in reader.lines().enumerate() {
        if at == lines {
            child.kill().unwrap();
        }
        // The last line may be cut.
        match line.unwrap().split_once(' ') {
            Some(("entry", number)) => told.entries.push(number.parse().unwrap()),
            Some(("put", version)) => told.version = version.parse().unwrap(),
            _ => panic!("the child failed"),
        }
    }
    child.wait().unwrap();
    assert!(told.entries.len() + 10 >= lines / 2, "it ended before");
    told
}

#[test]
fn a_kill_loses_and_doubles_nothing() {
    let rounds: usize = env::var("TURNPIKE_TEST_KILLS").map_or(12, |text| text.parse().unwrap());
    let directory = tempfile::tempdir().unwrap();
    for round in 0..rounds {
        // Two kills in one store: the second child begins by folding what the first one left.
        let path = directory.path().join(format!("{round}.db"));
        let lines = fastrand::usize(1..3000);
        let first = kill_after(spawn(&path), lines);
        check(&path, &first, &format!("round {round}, {lines} lines"));
    }
}

fn check(path: &std::path::Path, told: &Told, what: &str) {
    // As a reader sees it that comes before the next gateway, and as that gateway sees it.
    let reader = Embedded::open_read_only(path, Arc::new(Noon)).unwrap();
    let before = counted(&reader);
    drop(reader);
    let store = open(path);
    let calls = counted(&store);
    assert_eq!(before, calls, "{what}: the reader saw something else");

    for number in &told.entries {
        assert!(calls.contains_key(number), "{what}: entry {number} is lost");
    }
    // A thread may have recorded one more than it told.
    let most = told.entries.len() + THREADS as usize;
    assert!(calls.len() <= most, "{what}: entries nobody recorded");
    let twice: Vec<_> = calls.iter().filter(|(_, calls)| **calls != 1).collect();
    assert!(twice.is_empty(), "{what}: counted twice: {twice:?}");
    let spent = block_on(store.spent("a", 1)).unwrap();
    assert_eq!(spent.calls, calls.len() as u64, "{what}");
    assert_eq!(spent.tokens, 3 * spent.calls, "{what}");
    assert_eq!(store.damaged_lines(), 0, "{what}");

    if let Some(record) = block_on(store.get("kind", "key")).unwrap() {
        assert!(record.version >= told.version, "{what}: a record is lost");
    } else {
        assert_eq!(told.version, 0, "{what}: a record is lost");
    }
}

fn counted(store: &Embedded) -> HashMap<u64, u64> {
    let used = block_on(store.usage(0, u32::MAX)).unwrap();
    used.into_iter()
        .map(|used| (used.model.parse().unwrap(), used.calls))
        .collect()
}
