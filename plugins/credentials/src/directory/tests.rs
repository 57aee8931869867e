//! What happens to a directory, and what the scan after it says.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::Material;

const OPEN: bool = false;
const PRIVATE: bool = true;

/// A directory on disk, and what is known of it.
struct Auths {
    dir: TempDir,
    known: CredentialDirectory,
}

impl Auths {
    fn new(require_private_files: bool) -> Self {
        let policy = Policy {
            require_private_files,
            keyring: Arc::new(Keyring::new([&[1; 32], &[2; 32]])),
        };
        let dir = TempDir::new().unwrap();
        let known = CredentialDirectory::new(dir.path(), policy);
        Self { dir, known }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, token: &str) {
        write(&self.path(name), json(token));
    }

    /// So long after the last change that no file can change unseen.
    fn scan(&mut self) -> Scan {
        self.known
            .scan_at(SystemTime::now() + Duration::from_secs(3600))
    }

    fn changed(&mut self) -> bool {
        let scan = self.scan();
        assert_eq!((scan.unsettled, scan.problem), (false, None));
        scan.changed
    }

    /// Name, token in use, and whether there is a problem, of each entry.
    fn listed(&self) -> Vec<(&str, Option<&str>, bool)> {
        let mut lines = Vec::new();
        for entry in self.known.entries() {
            lines.push((entry.name.as_str(), token(entry), entry.problem.is_some()));
        }
        lines
    }

    fn only(&self) -> &Entry {
        let mut entries = self.known.entries();
        let entry = entries.next().unwrap();
        assert!(entries.next().is_none());
        entry
    }

    fn problem(&self) -> &str {
        self.only().problem.as_deref().unwrap()
    }
}

fn json(token: &str) -> String {
    format!(r#"{{"type":"api_key","token":"{token}"}}"#)
}

fn write(path: &Path, content: impl AsRef<[u8]>) {
    fs::write(path, content).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
}

fn token(entry: &Entry) -> Option<&str> {
    match &entry.state.as_ref()?.material {
        Material::Key(secret) => Some(secret.expose()),
        Material::Token { .. } | Material::ServiceAccount(_) => None,
    }
}

#[test]
fn files_come_change_and_go() {
    let mut auths = Auths::new(OPEN);
    assert!(!auths.changed());
    auths.write("b.json", "b1");
    auths.write("a.JSON", "a1");
    assert!(auths.changed());
    assert_eq!(
        auths.listed(),
        [("a.JSON", Some("a1"), false), ("b.json", Some("b1"), false)]
    );
    assert!(!auths.changed());

    auths.write("b.json", "b2-longer");
    assert!(auths.changed());
    assert_eq!(auths.listed()[1], ("b.json", Some("b2-longer"), false));

    fs::remove_file(auths.path("a.JSON")).unwrap();
    assert!(auths.changed());
    assert_eq!(auths.listed(), [("b.json", Some("b2-longer"), false)]);
    assert!(!auths.changed());
}

#[test]
fn only_json_files_without_a_dot_in_front_are_credentials() {
    let mut auths = Auths::new(OPEN);
    for name in [
        ".x.json",
        "..x.json",
        ".json",
        "x.json~",
        "x.json.swp",
        "x.txt",
        "json",
        "4913",
    ] {
        auths.write(name, "t");
    }
    assert!(!auths.changed());
    assert_eq!(auths.listed(), []);
}

#[test]
fn an_unchanged_file_is_not_read() {
    let mut auths = Auths::new(OPEN);
    auths.write("a.json", "a1");
    assert!(auths.changed());
    let path = auths.path("a.json");
    let identity = auths.known.files["a.json"].identity.clone();
    assert!(identity.is_some());
    assert!(matches!(
        read::look(&path, &Policy::default(), identity.as_ref()),
        Seen::Same
    ));
}

#[test]
fn a_file_written_just_now_is_read_again() {
    let mut auths = Auths::new(OPEN);
    auths.write("a.json", "a1");
    // As a scan at the very moment of the writing: another one may follow within the same step.
    assert!(auths.known.scan_at(SystemTime::UNIX_EPOCH).changed);
    assert!(auths.known.files["a.json"].identity.is_none());
    assert!(!auths.changed());
    assert!(auths.known.files["a.json"].identity.is_some());
}

#[test]
fn the_same_content_stays_the_same_value() {
    let mut auths = Auths::new(OPEN);
    auths.write("a.json", "a1");
    assert!(auths.changed());
    let before = auths.only().state.clone().unwrap();

    // Touched.
    let then = SystemTime::UNIX_EPOCH + Duration::from_millis(1_767_323_045_250);
    let file = fs::File::options()
        .write(true)
        .open(auths.path("a.json"))
        .unwrap();
    file.set_modified(then).unwrap();
    assert!(!auths.changed());
    assert_eq!(auths.only().modified_ms, 1_767_323_045_250);
    // Replaced by its like.
    write(&auths.path("new"), json("a1"));
    fs::rename(auths.path("new"), auths.path("a.json")).unwrap();
    assert!(!auths.changed());
    assert!(Arc::ptr_eq(&before, auths.only().state.as_ref().unwrap()));
}

#[test]
fn a_replacement_of_the_same_size_and_time_is_noticed() {
    let mut auths = Auths::new(OPEN);
    auths.write("a.json", "a1");
    assert!(auths.changed());
    let time = fs::metadata(auths.path("a.json"))
        .unwrap()
        .modified()
        .unwrap();

    write(&auths.path("new"), json("a2"));
    let new = fs::File::options()
        .write(true)
        .open(auths.path("new"))
        .unwrap();
    new.set_modified(time).unwrap();
    fs::rename(auths.path("new"), auths.path("a.json")).unwrap();
    assert!(auths.changed());
    assert_eq!(token(auths.only()), Some("a2"));
    assert_eq!(
        fs::metadata(auths.path("a.json"))
            .unwrap()
            .modified()
            .unwrap(),
        time
    );
}

/// As kubelet writes a mounted secret: `a.json -> ..data/a.json`, `..data -> ..<time>`.
fn mount(auths: &Auths, time: &str, files: &[(&str, &str)]) {
    let versioned = auths.path(time);
    fs::create_dir(&versioned).unwrap();
    for (name, token) in files {
        write(&versioned.join(name), json(token));
    }
    symlink(time, auths.path("..data_tmp")).unwrap();
    fs::rename(auths.path("..data_tmp"), auths.path("..data")).unwrap();
    for (name, _) in files {
        let _ = symlink(Path::new("..data").join(name), auths.path(name));
    }
}

#[test]
fn a_mounted_secret_is_swapped() {
    let mut auths = Auths::new(OPEN);
    mount(
        &auths,
        "..2026_01_02_03_04_05.1",
        &[("a.json", "a1"), ("b.json", "b1")],
    );
    assert!(auths.changed());
    assert_eq!(
        auths.listed(),
        [("a.json", Some("a1"), false), ("b.json", Some("b1"), false)]
    );
    let b = auths.known.files["b.json"].entry.state.clone().unwrap();

    mount(
        &auths,
        "..2026_01_02_03_05_05.2",
        &[("a.json", "a2"), ("b.json", "b1")],
    );
    fs::remove_dir_all(auths.path("..2026_01_02_03_04_05.1")).unwrap();
    assert!(auths.changed());
    assert_eq!(
        auths.listed(),
        [("a.json", Some("a2"), false), ("b.json", Some("b1"), false)]
    );
    assert!(Arc::ptr_eq(
        &b,
        auths.known.files["b.json"].entry.state.as_ref().unwrap()
    ));

    // The name of a key that was removed goes after its content.
    mount(&auths, "..2026_01_02_03_06_05.3", &[("a.json", "a2")]);
    fs::remove_dir_all(auths.path("..2026_01_02_03_05_05.2")).unwrap();
    assert!(auths.changed());
    assert_eq!(
        auths.listed(),
        [("a.json", Some("a2"), false), ("b.json", Some("b1"), true)]
    );
    fs::remove_file(auths.path("b.json")).unwrap();
    assert!(auths.changed());
    assert_eq!(auths.listed(), [("a.json", Some("a2"), false)]);
}

#[test]
fn a_thousand_files_at_once() {
    let mut auths = Auths::new(OPEN);
    for n in 0..1000 {
        auths.write(&format!("{n:04}.json"), &format!("t{n}"));
    }
    assert!(auths.changed());
    for (n, (name, token, problem)) in auths.listed().into_iter().enumerate() {
        assert_eq!(name, format!("{n:04}.json"));
        assert_eq!((token, problem), (Some(format!("t{n}").as_str()), false));
    }
    assert_eq!(auths.listed().len(), 1000);
    assert!(!auths.changed());
}

#[test]
fn a_broken_file_keeps_its_last_good_version_and_harms_no_other() {
    let mut auths = Auths::new(OPEN);
    auths.write("a.json", "a1");
    auths.write("b.json", "b1");
    assert!(auths.changed());

    write(&auths.path("a.json"), "{\n\"token\": CANARY");
    auths.write("b.json", "b2-longer");
    assert!(auths.changed());
    assert_eq!(
        auths.listed(),
        [
            ("a.json", Some("a1"), true),
            ("b.json", Some("b2-longer"), false)
        ]
    );
    let problem = auths
        .known
        .entries()
        .next()
        .unwrap()
        .problem
        .clone()
        .unwrap();
    let expected = format!(
        "{}: not valid JSON: expected value at line 2 column 10; \
         the version read before stays in use",
        auths.path("a.json").display()
    );
    assert_eq!(problem, expected);
    assert!(!auths.changed());

    // As it was before it broke.
    auths.write("a.json", "a1");
    assert!(auths.changed());
    assert_eq!(auths.listed()[0], ("a.json", Some("a1"), false));
    fs::remove_file(auths.path("a.json")).unwrap();
    assert!(auths.changed());
    assert_eq!(auths.listed().len(), 1);
}

#[test]
fn a_file_that_was_never_good_has_only_its_problem() {
    let mut auths = Auths::new(OPEN);
    for (content, expected) in [
        (&b""[..], "the file is empty"),
        (b"{\"token\":\"\xff\"}", "the file is not text in UTF-8"),
        (b"{}", "holds no credential"),
        (
            b"{\"token\":\"k\",\"weight\":\"CANARY\"}",
            "`weight`: expected a whole number",
        ),
    ] {
        write(&auths.path("a.json"), content);
        assert!(auths.changed());
        assert!(auths.only().state.is_none());
        let path = auths.path("a.json").display().to_string();
        assert!(auths.problem().starts_with(&format!("{path}: {expected}")));
        assert!(!auths.problem().contains("stays in use"));
        assert!(!auths.problem().contains("CANARY"));
    }
}

/// `spoil` makes of `a.json` what cannot be read; the scan must come back and say so.
fn spoiled(spoil: impl Fn(&Auths), expected: &str) {
    let mut never_good = Auths::new(OPEN);
    spoil(&never_good);
    assert!(never_good.changed());
    assert!(never_good.only().state.is_none());

    let mut auths = Auths::new(OPEN);
    auths.write("a.json", "a1");
    assert!(auths.changed());
    fs::remove_file(auths.path("a.json")).unwrap();
    spoil(&auths);
    assert!(auths.changed());
    assert_eq!(token(auths.only()), Some("a1"));
    assert!(auths.problem().contains(expected), "{}", auths.problem());
    assert!(
        auths
            .problem()
            .contains(&*auths.path("a.json").to_string_lossy())
    );
    assert!(!auths.changed());

    let path = auths.path("a.json");
    let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir(&path));
    auths.write("a.json", "a1");
    assert!(auths.changed());
    assert_eq!(auths.listed(), [("a.json", Some("a1"), false)]);
}

#[test]
fn what_is_no_file_is_told_and_never_waited_for() {
    spoiled(
        |auths| fs::create_dir(auths.path("a.json")).unwrap(),
        "is not a file",
    );
    let fifo = |auths: &Auths| {
        let made = Command::new("mkfifo").arg(auths.path("a.json")).status();
        assert!(made.unwrap().success());
    };
    spoiled(fifo, "is not a file");
    let socket = |auths: &Auths| {
        std::os::unix::net::UnixListener::bind(auths.path("a.json")).unwrap();
    };
    spoiled(socket, "is not a file");
}

#[test]
fn links_that_lead_nowhere_are_told() {
    let dangling = |auths: &Auths| symlink("gone", auths.path("a.json")).unwrap();
    spoiled(dangling, "the link cannot be followed");
    let itself = |auths: &Auths| symlink("a.json", auths.path("a.json")).unwrap();
    spoiled(itself, "the link cannot be followed");
    let round = |auths: &Auths| {
        let _ = fs::remove_file(auths.path("b"));
        symlink("b", auths.path("a.json")).unwrap();
        symlink("a.json", auths.path("b")).unwrap();
    };
    spoiled(round, "the link cannot be followed");
}

#[test]
fn a_huge_file_is_not_read() {
    let padded = |size: usize| format!("{}{}", json("a1"), " ".repeat(size - json("a1").len()));
    let huge = |auths: &Auths| write(&auths.path("a.json"), padded(1024 * 1024 + 1));
    spoiled(huge, "larger than 1 MiB");
    let mut auths = Auths::new(OPEN);
    write(&auths.path("a.json"), padded(1024 * 1024));
    assert!(auths.changed());
    assert_eq!(token(auths.only()), Some("a1"));
}

#[test]
fn a_file_that_may_not_be_read_is_told() {
    let forbid = |auths: &Auths| {
        auths.write("a.json", "a1");
        fs::set_permissions(auths.path("a.json"), Permissions::from_mode(0o000)).unwrap();
    };
    let probe = Auths::new(OPEN);
    forbid(&probe);
    // Root reads everything.
    if fs::read(probe.path("a.json")).is_err() {
        spoiled(forbid, "cannot be read");
    }
}

#[test]
fn a_name_that_is_no_plain_text_is_told() {
    use std::os::unix::ffi::OsStrExt;
    for name in [&b"a\xff.json"[..], b"a\n.json"] {
        let mut auths = Auths::new(OPEN);
        write(&auths.dir.path().join(OsStr::from_bytes(name)), json("a1"));
        assert!(auths.changed());
        assert_eq!(auths.only().name, "a\u{fffd}.json");
        assert!(auths.only().state.is_none());
        assert!(
            auths
                .problem()
                .ends_with("a\u{fffd}.json: its name is not plain text; rename it")
        );
    }
}

#[test]
fn files_that_others_can_read_are_warned_of() {
    for (mode, warned) in [
        (0o600, false),
        (0o400, false),
        (0o711, false),
        (0o640, true),
    ] {
        let mut auths = Auths::new(OPEN);
        auths.write("a.json", "a1");
        assert!(auths.changed());
        fs::set_permissions(auths.path("a.json"), Permissions::from_mode(mode)).unwrap();
        assert_eq!(auths.changed(), warned, "{mode:o}");
        assert_eq!(auths.listed(), [("a.json", Some("a1"), false)]);
        let warning = auths.only().warning.clone().unwrap_or_default();
        assert_eq!(warning.contains("chmod 600"), warned, "{mode:o}: {warning}");
    }
}

#[test]
fn files_that_others_can_read_are_not_used_where_policy_says_so() {
    for mode in [0o640, 0o604, 0o620, 0o602, 0o666] {
        let mut auths = Auths::new(PRIVATE);
        auths.write("a.json", "a1");
        assert!(auths.changed());
        assert_eq!(auths.listed(), [("a.json", Some("a1"), false)]);

        fs::set_permissions(auths.path("a.json"), Permissions::from_mode(mode)).unwrap();
        assert!(auths.changed());
        assert_eq!(auths.listed(), [("a.json", None, true)]);
        let problem = auths.problem();
        assert!(
            problem.contains(&format!("(mode {mode:o}): chmod 600 /")),
            "{problem}"
        );
        assert!(!auths.changed());

        fs::set_permissions(auths.path("a.json"), Permissions::from_mode(0o600)).unwrap();
        assert!(auths.changed());
        assert_eq!(auths.listed(), [("a.json", Some("a1"), false)]);
    }
}

#[test]
fn a_missing_directory_has_no_files() {
    let mut auths = Auths::new(OPEN);
    auths.known = CredentialDirectory::new(auths.path("later"), Policy::default());
    assert!(!auths.changed());
    fs::create_dir(auths.path("later")).unwrap();
    auths.write("later/a.json", "a1");
    assert!(auths.changed());
    fs::remove_dir_all(auths.path("later")).unwrap();
    assert!(auths.changed());
    assert_eq!(auths.listed(), []);
}

#[test]
fn a_directory_that_cannot_be_read_keeps_its_entries() {
    let mut auths = Auths::new(OPEN);
    auths.known = CredentialDirectory::new(auths.path("auths"), Policy::default());
    fs::create_dir(auths.path("auths")).unwrap();
    auths.write("auths/a.json", "a1");
    assert!(auths.changed());
    fs::rename(auths.path("auths"), auths.path("away")).unwrap();
    symlink("auths", auths.path("auths")).unwrap();
    let scan = auths.scan();
    assert!(!scan.changed);
    assert!(
        scan.problem
            .unwrap()
            .contains("the directory cannot be read")
    );
    assert_eq!(auths.listed(), [("a.json", Some("a1"), false)]);

    fs::remove_file(auths.path("auths")).unwrap();
    fs::rename(auths.path("away"), auths.path("auths")).unwrap();
    assert!(!auths.changed());
}

#[test]
fn a_file_may_be_encrypted_with_any_of_the_keys() {
    let mut auths = Auths::new(OPEN);
    let sealed =
        |key: u8, name: &str| seal_file(name, json("k1").as_bytes(), &Keyring::new([&[key; 32]]));
    for (key, name) in [(1, "openai-current.json"), (2, "openai-previous.json")] {
        write(&auths.path(name), sealed(key, name).unwrap());
    }
    auths.known.scan();
    assert!(auths.known.entries().all(|entry| entry.state.is_some()));
    // One that cannot be opened stands in nobody else's way, and the text says what helps.
    write(
        &auths.path("openai-lost.json"),
        sealed(3, "openai-lost.json").unwrap(),
    );
    write(
        &auths.path("openai-renamed.json"),
        sealed(1, "openai-current.json").unwrap(),
    );
    auths.known.scan();
    let problem = |name: &str| {
        let mut entries = auths.known.entries();
        entries
            .find(|entry| entry.name == name)
            .unwrap()
            .problem
            .clone()
    };
    assert_eq!(problem("openai-current.json"), None);
    let lost = problem("openai-lost.json").unwrap();
    assert!(lost.contains("`auth.encryption.previous_keys`"), "{lost}");
    let renamed = problem("openai-renamed.json").unwrap();
    assert!(renamed.contains("cannot be decrypted"), "{renamed}");
}
