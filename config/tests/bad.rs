//! Every file of `tests/bad` is refused with exactly the report beside it.
//!
//! `RENEW=1 cargo test -p turnpike-config --test bad` writes the reports anew; read the difference.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use turnpike_config::{Environment, Kinds, load_str};

const KINDS: Kinds<'_> = Kinds {
    providers: &[
        ("openai", true),
        ("claude", true),
        ("openai-compatible", false),
    ],
};

/// A case sets variables with lines `# env: NAME=value`.
fn environment(text: &str) -> Environment {
    let settings = text.lines().filter_map(|line| line.strip_prefix("# env: "));
    Environment::from_pairs(settings.filter_map(|setting| setting.split_once('=')))
}

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad");
    let files = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path());
    let mut cases: Vec<_> = files
        .filter(|path| path.extension().unwrap() == "yaml")
        .collect();
    cases.sort();
    cases
}

#[test]
fn every_bad_file_is_refused_with_its_report() {
    let renew = std::env::var_os("RENEW").is_some();
    let mut wrong = String::new();
    for case in cases() {
        let text = std::fs::read_to_string(&case).unwrap();
        let name = case.file_name().unwrap().to_str().unwrap();
        let report = match load_str(&text, Path::new("conf"), &environment(&text), &KINDS) {
            Ok(_) => panic!("{name} was accepted"),
            Err(problems) => format!("{problems}\n"),
        };
        for secret in text
            .split_whitespace()
            .filter(|word| word.contains("CANARY"))
        {
            let secret = secret.trim_matches(|c: char| !c.is_ascii_alphanumeric());
            assert!(!report.contains(secret), "{name} leaks a secret");
        }
        let expected = case.with_extension("expected");
        if renew {
            std::fs::write(&expected, &report).unwrap();
        }
        let expected = std::fs::read_to_string(&expected).unwrap_or_default();
        if report != expected {
            wrong.push_str(&format!(
                "--- {name}, expected:\n{expected}--- found:\n{report}\n"
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn there_are_enough_cases_and_one_of_five_mistakes() {
    assert!(cases().len() >= 30);
    let five = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad/five-mistakes.expected");
    assert_eq!(std::fs::read_to_string(five).unwrap().lines().count(), 5);
}
