use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::events::{CATALOGUE, Described, GROUPS};

const BEGIN: &str =
    "<!-- every event and field, by `RENEW=1 cargo test -p turnpike-audit reference` -->\n";

/// The reference holds what the code does.
#[test]
fn the_reference_lists_every_event_and_field() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/audit.md");
    let page = fs::read_to_string(&path).unwrap();
    let (written, listed) = page.split_once(BEGIN).unwrap();
    let list = list();
    if std::env::var_os("RENEW").is_some() {
        fs::write(&path, format!("{written}{BEGIN}{list}")).unwrap();
    } else {
        assert_eq!(listed, list, "run it with RENEW=1");
    }
}

fn list() -> String {
    let mut list = String::new();
    for event in CATALOGUE {
        describe(event, "###", &mut list);
    }
    list.push_str("\n## Objects within records\n");
    for group in GROUPS {
        describe(group, "###", &mut list);
    }
    list
}

fn describe(of: &Described, level: &str, list: &mut String) {
    let (name, what) = (of.name, of.what.trim());
    write!(list, "\n{level} `{name}`\n\n{what}\n").unwrap();
    if of.fields.is_empty() {
        return;
    }
    list.push_str("\n| field | |\n|---|---|\n");
    for (field, what) in of.fields {
        let what = what.trim();
        writeln!(list, "| `{field}` | {what} |").unwrap();
    }
}
