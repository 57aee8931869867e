//! The environment: `TURNPIKE_<SECTION>__<KEY>` over the file, and the values of references.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::locate::{Origin, Report};
use crate::resolve;
use crate::tree::{self, Content, Entry, Node, Scalar};

pub(crate) const PREFIX: &str = "TURNPIKE_";

/// Variables under the prefix that set no key: the file's own path, and those of test suites.
const NOT_KEYS: [&str; 2] = ["TURNPIKE_CONFIG", "TURNPIKE_TEST_"];

/// A copy of the environment variables, so that loading reads no global state.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The variables of this process; those that are not UTF-8 are left out.
    pub fn from_process() -> Self {
        Self::from_pairs(std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        }))
    }

    pub fn from_pairs<N: Into<String>, V: Into<String>>(
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        Self(
            pairs
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        )
    }

    /// The value of a variable that is set.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The first of `names` that is set and not empty, and its value.
    pub(crate) fn first<'a>(&self, names: &[&'a str]) -> Option<(&'a str, &str)> {
        names
            .iter()
            .find_map(|name| Some((*name, self.get(name).filter(|v| !v.is_empty())?)))
    }

    /// Puts every `TURNPIKE_…` variable into `tree`, in place of what the file says.
    pub(crate) fn override_file(&self, tree: &mut Node, report: &mut Report) {
        let mut referenced = BTreeSet::new();
        add_referenced(tree, &mut referenced);
        for (name, value) in &self.0 {
            let Some(keys) = name.strip_prefix(PREFIX) else {
                continue;
            };
            if name == NOT_KEYS[0]
                || name.starts_with(NOT_KEYS[1])
                || referenced.contains(name)
                || is_service_link(name, value)
            {
                continue;
            }
            let keys: Vec<String> = keys.split("__").map(str::to_lowercase).collect();
            if keys.iter().any(String::is_empty) {
                report.variable(name, "unknown variable; the form is TURNPIKE_SECTION__KEY");
                continue;
            }
            if let Some(node) = read_value(name, value, report) {
                set(tree, &keys, node, &Origin::Variable(name.as_str().into()));
            }
        }
    }
}

fn read_value(name: &str, value: &str, report: &mut Report) -> Option<Node> {
    let variable: Rc<str> = name.into();
    let mut repeated = Vec::new();
    let tree = tree::parse(value, &mut repeated, &|_| {
        Origin::Variable(variable.clone())
    });
    for error in repeated {
        report.found(
            &error.path,
            &Origin::Variable(variable.clone()),
            error.message,
        );
    }
    match tree {
        // An empty value is nothing, not an empty mapping.
        Ok(_) if value.trim().is_empty() => {
            let nothing = Content::Scalar(Scalar::Null, String::new());
            Some(Node::new(Origin::Variable(variable), nothing))
        }
        Ok(node) => Some(node),
        Err(error) => {
            let remedy = "put text with special characters in quotes";
            report.variable(name, format!("not valid YAML: {}; {remedy}", error.message));
            None
        }
    }
}

/// Puts `node` at `keys`, whatever stood there.
fn set(tree: &mut Node, keys: &[String], node: Node, origin: &Origin) {
    let Some((key, deeper)) = keys.split_first() else {
        *tree = node;
        return;
    };
    if !matches!(tree.content, Content::Map(_)) {
        *tree = Node::empty_map(origin.clone());
    }
    let Content::Map(entries) = &mut tree.content else {
        return;
    };
    // A variable's name has neither `-` nor lower case, the file's key may have both.
    let same = |entry: &Entry| entry.key.to_lowercase().replace('-', "_") == *key;
    let at = entries.iter().position(same).unwrap_or_else(|| {
        let value = Node::empty_map(origin.clone());
        entries.push(Entry {
            key: key.clone(),
            origin: origin.clone(),
            value,
        });
        entries.len() - 1
    });
    if deeper.is_empty() {
        entries[at].origin = origin.clone();
    }
    set(&mut entries[at].value, deeper, node, origin);
}

/// The variables that the file refers to: `${TURNPIKE_ADMIN_KEY}` names a value, not a key.
fn add_referenced(tree: &Node, found: &mut BTreeSet<String>) {
    match &tree.content {
        Content::Scalar(_, text) => found.extend(resolve::variable(text).map(str::to_owned)),
        Content::List(items) => items.iter().for_each(|item| add_referenced(item, found)),
        Content::Map(entries) => entries
            .iter()
            .for_each(|entry| add_referenced(&entry.value, found)),
    }
}

/// Kubernetes tells each pod of a namespace about a service named `turnpike` with variables such
/// as `TURNPIKE_SERVICE_HOST` and `TURNPIKE_PORT_8080_TCP_ADDR`.
fn is_service_link(name: &str, value: &str) -> bool {
    let is_address = ["tcp://", "udp://", "sctp://"]
        .iter()
        .any(|p| value.starts_with(p));
    let has_port_part = ["_TCP", "_UDP", "_SCTP"]
        .iter()
        .any(|part| name.contains(part));
    !name.contains("__")
        && (name.ends_with("_SERVICE_HOST")
            || name.contains("_SERVICE_PORT")
            || (name.ends_with("_PORT") && is_address)
            || (name.contains("_PORT_") && has_port_part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubernetes_service_links_set_no_key() {
        for (name, value) in [
            ("TURNPIKE_SERVICE_HOST", "10.0.0.1"),
            ("TURNPIKE_SERVICE_PORT_HTTP", "80"),
            ("TURNPIKE_PORT", "tcp://10.0.0.1:80"),
            ("TURNPIKE_ADMIN_PORT_80_TCP_ADDR", "10.0.0.1"),
        ] {
            assert!(is_service_link(name, value), "{name}");
        }
        assert!(!is_service_link("TURNPIKE_SERVER__PORT", "9000"));
        assert!(!is_service_link("TURNPIKE_SERVER_PORT", "9000"));
    }

    #[test]
    fn no_value_is_looked_for_in_an_empty_variable() {
        let environment = Environment::from_pairs([("A", ""), ("a", "x")]);
        assert_eq!(environment.first(&["A", "a"]), Some(("a", "x")));
        assert_eq!(environment.first(&["B"]), None);
    }
}
