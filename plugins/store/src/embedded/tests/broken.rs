//! Files that are damaged, of somebody else, or cannot be written.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use turnpike_api::StoreError;

use super::*;

fn open(path: &Path) -> Result<Embedded, OpenError> {
    Embedded::open_folding(path, Arc::new(Hand(AtomicU64::new(1))), NEVER)
}

fn refusal(path: &Path) -> String {
    let error = open(path).err().expect("it is not opened").to_string();
    assert!(error.contains(path.to_str().unwrap()), "no path: {error}");
    error
}

/// A journal of three entries, as a process leaves it that is killed.
fn journal() -> Vec<u8> {
    let bench = Bench::new();
    let store = bench.lazy();
    for (credential, tokens) in [("a", 1), ("b", 20), ("c", 300)] {
        store.record(&entry(credential, "m", tokens)).unwrap();
    }
    fs::read(journal::beside(&bench.path(), ".usage/000001")).unwrap()
}

/// What a store tells that finds `journal`: tokens of a, b and c, and how many lines were damaged.
fn found(journal: &[u8]) -> ([u64; 3], u64) {
    let bench = Bench::new();
    fs::create_dir(journal::beside(&bench.path(), ".usage")).unwrap();
    fs::write(journal::beside(&bench.path(), ".usage/000007"), journal).unwrap();
    let store = open(&bench.path()).unwrap();
    let tokens = ["a", "b", "c"].map(|credential| tokens(&store, credential));
    (tokens, store.damaged_lines())
}

#[test]
fn a_journal_cut_anywhere_keeps_what_is_whole() {
    let journal = journal();
    let ends: Vec<usize> = (0..journal.len())
        .filter(|at| journal[*at] == b'\n')
        .skip(1)
        .step_by(2)
        .collect();
    assert_eq!(ends.len(), 3);
    for length in 0..=journal.len() {
        let (tokens, _) = found(&journal[..length]);
        // The last line break of a line is not missed.
        let whole = |line: usize| length >= ends[line];
        let expected = [1, 20, 300].iter().zip(0..3);
        let expected: Vec<u64> = expected
            .map(|(t, line)| t * u64::from(whole(line)))
            .collect();
        assert_eq!(tokens, *expected, "cut at {length}");
    }
}

#[test]
fn a_flipped_bit_costs_one_entry_at_most() {
    let journal = journal();
    for at in 0..journal.len() {
        let mut flipped = journal.clone();
        flipped[at] ^= 1 << (at % 8);
        let (tokens, damaged) = found(&flipped);
        let lost: Vec<u64> = (0..3)
            .map(|line| [1, 20, 300][line] - tokens[line])
            .filter(|lost| *lost > 0)
            .collect();
        assert!(lost.len() <= 1, "byte {at}: {tokens:?}");
        assert_eq!(lost.is_empty(), damaged == 0, "byte {at}: {damaged} lines");
    }
}

#[test]
fn a_torn_line_leaves_the_next_one_whole() {
    let journal = journal();
    let torn = [&journal[..journal.len() / 2], &journal[..]].concat();
    let (tokens, damaged) = found(&torn);
    assert_eq!((tokens[1..].to_vec(), damaged), (vec![20, 300], 1));
}

#[test]
fn journals_are_folded_once() {
    let bench = Bench::new();
    let store = bench.lazy();
    store.record(&entry("a", "m", 5)).unwrap();
    let path = journal::beside(&bench.path(), ".usage/000001");
    let journal = fs::read(&path).unwrap();
    assert_eq!(tokens(&store, "a"), 5);
    drop(store);

    // As when it was killed between folding and removing, while recording into the next one.
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, &journal).unwrap();
    fs::write(journal::beside(&bench.path(), ".usage/000003"), &journal).unwrap();
    let reader = bench.reader();
    assert_eq!(tokens(&reader, "a"), 10, "a reader passes over it");
    let store = bench.lazy();
    assert_eq!(tokens(&store, "a"), 10, "the owner passes over it");
    assert!(!path.exists(), "and removes it");
    store.record(&entry("a", "m", 6)).unwrap();
    assert_eq!(tokens(&store, "a"), 16, "new ones have higher numbers");
}

#[test]
fn a_journal_that_somebody_removed_is_folded_all_the_same() {
    let bench = Bench::new();
    let store = bench.lazy();
    store.record(&entry("a", "m", 5)).unwrap();
    fs::remove_file(journal::beside(&bench.path(), ".usage/000001")).unwrap();
    store.record(&entry("a", "m", 6)).unwrap();
    assert_eq!(tokens(&store, "a"), 11);
}

#[test]
fn a_directory_that_comes_back_needs_no_help() {
    let bench = Bench::new();
    let home = bench.directory.path().join("home");
    let away = bench.directory.path().join("away");
    fs::create_dir(&home).unwrap();
    let store = open(&home.join("t.db")).unwrap();
    store.record(&entry("a", "m", 5)).unwrap();
    fs::rename(&home, &away).unwrap();

    assert!(
        store.record(&entry("a", "m", 6)).is_ok(),
        "the file is open"
    );
    let error = block_on(store.spent("a", 1)).unwrap_err().to_string();
    assert!(error.contains("t.db.usage/000002: No such file"), "{error}");

    fs::rename(&away, &home).unwrap();
    assert_eq!(tokens(&store, "a"), 11);
    store.record(&entry("a", "m", 7)).unwrap();
    assert_eq!(tokens(&store, "a"), 18);
}

#[test]
fn a_full_disk_is_told_and_got_over() {
    let bench = Bench::new();
    let full = bench.directory.path().join("t.db.usage/000001");
    fs::create_dir(full.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink("/dev/full", &full).unwrap();
    let journal = Journal::begin(&bench.path(), 1).unwrap();
    let error = journal.keep(journal.note(&entry("a", "m", 5))).unwrap_err();
    let StoreError::Unavailable(text) = error else {
        panic!("{error:?}");
    };
    assert!(text.contains("t.db.usage/000001: No space left"), "{text}");

    assert!(journal.rotate().unwrap().is_some(), "another file is tried");
    assert_eq!(journal.keep(journal.note(&entry("a", "m", 6))), Ok(()));
}

#[test]
fn a_newer_store_is_left_alone() {
    let bench = Bench::new();
    drop(bench.store());
    let db = rusqlite::Connection::open(bench.path()).unwrap();
    db.pragma_update(None, "user_version", 99).unwrap();
    drop(db);
    let before = fs::read(bench.path()).unwrap();
    let text = refusal(&bench.path());
    assert!(
        text.contains("newer release") && text.contains("99"),
        "{text}"
    );
    assert_eq!(fs::read(bench.path()).unwrap(), before);
}

#[test]
fn what_is_no_store_is_left_alone() {
    let bench = Bench::new();
    fs::write(bench.path(), b"server:\n  port: 8080\n".repeat(100)).unwrap();
    assert!(refusal(&bench.path()).contains("not a store"));

    let other = bench.directory.path().join("other.db");
    let db = rusqlite::Connection::open(&other).unwrap();
    db.execute_batch("CREATE TABLE usage (a)").unwrap();
    drop(db);
    assert!(refusal(&other).contains("not a store"));
}

#[test]
fn a_damaged_store_says_what_to_do() {
    let bench = Bench::new();
    let store = bench.store();
    let value = [7; 2000];
    for at in 0..200 {
        let key = at.to_string();
        block_on(store.put("kind", &key, &value, None, Expected::Anything)).unwrap();
    }
    drop(store);
    let whole = fs::read(bench.path()).unwrap();
    for (name, damaged) in [
        ("cut short", whole[..whole.len() / 2].to_vec()),
        ("overwritten", {
            let mut bytes = whole.clone();
            bytes[4096..].fill(0xa5);
            bytes
        }),
    ] {
        fs::write(bench.path(), damaged).unwrap();
        let text = refusal(&bench.path());
        let is_told = text.contains("damaged") && text.contains("move this file");
        assert!(is_told, "{name}: {text}");
    }
    fs::rename(bench.path(), bench.directory.path().join("kept.db")).unwrap();
    open(&bench.path()).unwrap();
}

#[test]
fn places_that_cannot_be_written_are_named() {
    let bench = Bench::new();
    let missing = bench.directory.path().join("missing/t.db");
    assert!(refusal(&missing).contains("No such file"));

    let sealed = bench.directory.path().join("sealed");
    fs::create_dir(&sealed).unwrap();
    fs::set_permissions(&sealed, fs::Permissions::from_mode(0o500)).unwrap();
    // The superuser may write anywhere.
    if fs::write(sealed.join("probe"), b"").is_err() {
        assert!(refusal(&sealed.join("t.db")).contains("Permission denied"));
    }

    let directory = bench.directory.path().join("directory.db");
    fs::create_dir(&directory).unwrap();
    refusal(&directory);
}
