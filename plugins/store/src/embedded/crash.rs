//! A process that is killed, at any moment, loses and doubles nothing.
//!
//! The test runs itself as a child that records from several threads while folding all the time,
//! and tells each entry's number once `record` has returned. Then it is killed.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{collections::HashMap, env, io, thread};

use futures::executor::block_on;
use turnpike_api::{Clock, Directory, Entry, Expected, Ledger, Payer, Usage};

use super::Embedded;

/// Tells the child where the store is. Not set in an ordinary run.
const STORE: &str = "TURNPIKE_TEST_STORE";
/// And the number of its first entry.
const FROM: &str = "TURNPIKE_TEST_FROM";
const THREADS: u64 = 3;

struct Noon;

impl Clock for Noon {
    fn now(&self) -> u64 {
        1_800_000_000_000
    }
}

fn open(path: &Path) -> Embedded {
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
    let from: u64 = env::var(FROM).unwrap().parse().unwrap();
    let store = open(&PathBuf::from(path));
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let store = &store;
            let numbers = (from + thread..u64::MAX).step_by(THREADS as usize);
            scope.spawn(move || numbers.for_each(|number| one(store, number)));
        }
        // The database is written for other reasons, too.
        loop {
            let put = store.put("kind", "key", b"v", None, Expected::Anything);
            tell("put", block_on(put).unwrap().unwrap());
        }
    });
}

fn one(store: &Embedded, number: u64) {
    let model = number.to_string();
    store
        .record(&Entry {
            payer: payer(&model),
            credential: "a",
            model: &model,
            at: 0,
            period: 1,
            usage: Usage {
                input: 3,
                ..Usage::default()
            },
            cost: Some(number % 1000),
            estimated: false,
            calls: 1,
        })
        .unwrap();
    tell("entry", number);
}

/// Of a hundred people in ten teams, whose model says which.
fn payer(model: &str) -> Payer<'_> {
    let last = |count: usize| &model[model.len().saturating_sub(count)..];
    Payer {
        team: last(1),
        user: last(2),
        ..Payer::default()
    }
}

/// In one write, so that the lines of the threads stay apart.
fn tell(what: &str, number: u64) {
    let line = format!("{what} {number}\n");
    io::stderr().write_all(line.as_bytes()).unwrap();
}

fn spawn(path: &Path, from: u64) -> Child {
    Command::new(env::current_exe().unwrap())
        .args([
            "--exact",
            "embedded::crash::child",
            "--ignored",
            "--nocapture",
        ])
        .env(STORE, path)
        .env(FROM, from.to_string())
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
        let line = line.unwrap();
        match line.split_once(' ') {
            Some(("entry", number)) => told.entries.push(number.parse().unwrap()),
            Some(("put", version)) => told.version = version.parse().unwrap(),
            _ => panic!("the child failed: {line}"),
        }
    }
    let status = child.wait().unwrap();
    assert_eq!(status.signal(), Some(9), "it ended by itself: {status}");
    told
}

#[test]
fn a_kill_loses_and_doubles_nothing() {
    let rounds: usize = env::var("TURNPIKE_TEST_KILLS").map_or(12, |text| text.parse().unwrap());
    let directory = tempfile::tempdir().unwrap();
    for round in 0..rounds {
        let path = directory.path().join(format!("{round}.db"));
        // The second child takes over what the first one left.
        let lines = [fastrand::usize(1..1500), fastrand::usize(1..1500)];
        let mut told = Told::default();
        for (from, lines) in [0, 1 << 40].into_iter().zip(lines) {
            let more = kill(&path, from, lines);
            told.entries.extend(more.entries);
            told.version = more.version.max(told.version);
        }
        check(&path, &told, &format!("round {round}, {lines:?} lines"));
    }
}

fn kill(path: &Path, from: u64, lines: usize) -> Told {
    let child = spawn(path, from);
    let killed = AtomicBool::new(false);
    thread::scope(|scope| {
        let beside = scope.spawn(|| write_beside(path, &killed));
        let told = thread::Builder::new().spawn_scoped(scope, || kill_after(child, lines));
        let told = told.unwrap().join();
        killed.store(true, Ordering::SeqCst);
        beside.join().unwrap();
        told.unwrap()
    })
}

/// A command beside the gateway, before, while and after that is killed: it waits, never fails.
fn write_beside(path: &Path, killed: &AtomicBool) {
    let mut after = 0;
    while after < 20 {
        let store = Embedded::open_beside(path, Arc::new(Noon)).unwrap();
        for _ in 0..10 {
            let put = store.put("kind", "beside", b"v", None, Expected::Anything);
            block_on(put).unwrap();
        }
        after += u32::from(killed.load(Ordering::SeqCst));
    }
}

fn check(path: &Path, told: &Told, what: &str) {
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
    // A thread may have recorded one more than it told, each time.
    let most = told.entries.len() + 2 * THREADS as usize;
    assert!(calls.len() <= most, "{what}: entries nobody recorded");
    let twice: Vec<_> = calls.iter().filter(|(_, calls)| **calls != 1).collect();
    assert!(twice.is_empty(), "{what}: counted twice: {twice:?}");
    let spent = block_on(store.spent("a", 1)).unwrap();
    assert_eq!(spent.calls, calls.len() as u64, "{what}");
    assert_eq!(spent.tokens, 3 * spent.calls, "{what}");
    // Each kill may cut the lines that were being written, of which nobody was told.
    assert!(store.damaged_lines() <= 2, "{what}");

    if let Some(record) = block_on(store.get("kind", "key")).unwrap() {
        assert!(record.version >= told.version, "{what}: a record is lost");
    } else {
        assert_eq!(told.version, 0, "{what}: a record is lost");
    }
}

fn counted(store: &Embedded) -> HashMap<u64, u64> {
    let used = block_on(store.usage(0, u32::MAX)).unwrap();
    let counted = used.into_iter().map(|row| {
        let number: u64 = row.model.parse().unwrap();
        let who = payer(&row.model);
        assert_eq!((&*row.team, &*row.user), (who.team, who.user), "{number}");
        let used = row.used;
        assert_eq!((used.cost, used.unpriced), (number % 1000, 0), "{number}");
        (number, used.calls)
    });
    counted.collect()
}
