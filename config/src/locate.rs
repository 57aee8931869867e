//! Where a key stands: its path, and the line or the environment variable it came from.

use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use crate::problem::{Problem, Problems};

/// Who wrote a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A line of the file, counted from 1.
    Line(usize),
    /// An environment variable.
    Variable(Rc<str>),
}

/// One step of a key path.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// A key this crate knows.
    Field(String),
    /// A key the operator chose, such as a provider's name.
    Entry(String),
    Item(usize),
}

/// A key path, `providers.openai.credentials[0]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Path(Vec<Step>);

impl Path {
    pub(crate) fn field(&self, name: &str) -> Self {
        self.with(Step::Field(name.to_owned()))
    }

    pub(crate) fn entry(&self, name: &str) -> Self {
        self.with(Step::Entry(name.to_owned()))
    }

    pub(crate) fn item(&self, index: usize) -> Self {
        self.with(Step::Item(index))
    }

    fn with(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }

    pub(crate) fn depth(&self) -> usize {
        self.0.len()
    }

    /// The path with the operator's own names and the positions left out:
    /// `providers.*.credentials[]`.
    pub(crate) fn pattern(&self) -> String {
        self.text(|step| match step {
            Step::Field(name) => name,
            Step::Entry(_) => "*",
            Step::Item(_) => "",
        })
    }

    fn text(&self, name_of: impl Fn(&Step) -> &str) -> String {
        let mut text = String::new();
        for step in &self.0 {
            let name = name_of(step);
            if let Step::Item(index) = step {
                let index = if name.is_empty() {
                    String::new()
                } else {
                    index.to_string()
                };
                text.push_str(&format!("[{index}]"));
                continue;
            }
            if !text.is_empty() {
                text.push('.');
            }
            text.push_str(name);
        }
        text
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(|step| match step {
            Step::Field(name) | Step::Entry(name) => name,
            Step::Item(_) => "#",
        }))
    }
}

/// The mistakes found so far, and where each key of the document was written.
///
/// Checks name a key as the document types spell it; the report shows it as it was written.
pub(crate) struct Report {
    file: String,
    places: BTreeMap<String, (Path, Origin)>,
    problems: Vec<Problem>,
}

impl Report {
    pub(crate) fn new(file: String) -> Self {
        Self {
            file,
            places: BTreeMap::new(),
            problems: Vec::new(),
        }
    }

    /// Remembers that the document's key `key` was written as `written`.
    pub(crate) fn place(&mut self, key: &Path, written: &Path, origin: &Origin) {
        self.places
            .insert(key.to_string(), (written.clone(), origin.clone()));
    }

    /// Nothing at or under `key` is in the document after all: another entry takes its place.
    pub(crate) fn forget(&mut self, key: &Path) {
        let key = key.to_string();
        let under = self.places.range(key.clone()..);
        let under = under.take_while(|(place, _)| place.starts_with(&key));
        let under: Vec<String> = under.map(|(place, _)| place.clone()).collect();
        for place in under {
            self.places.remove(&place);
        }
    }

    /// A mistake at a key of the document, or at the closest key above it that was written.
    pub(crate) fn at(&mut self, key: &Path, message: impl Into<String>) {
        let mut above = key.clone();
        loop {
            if let Some((written, origin)) = self.places.get(&above.to_string()) {
                let mut shown = written.clone();
                shown.0.extend_from_slice(&key.0[above.0.len()..]);
                let origin = origin.clone();
                return self.found(&shown, &origin, message);
            }
            if above.0.pop().is_none() {
                return self.nowhere(&key.to_string(), message);
            }
        }
    }

    /// A mistake at a key as it was written.
    pub(crate) fn found(&mut self, written: &Path, origin: &Origin, message: impl Into<String>) {
        let (source, line) = match origin {
            Origin::Line(line) => (self.file.clone(), Some(*line)),
            Origin::Variable(name) => (name.to_string(), None),
        };
        self.problems.push(Problem {
            source,
            path: written.to_string(),
            line,
            message: message.into(),
        });
    }

    /// A mistake in a variable that sets no key.
    pub(crate) fn variable(&mut self, name: &str, message: impl Into<String>) {
        self.found(&Path::default(), &Origin::Variable(name.into()), message);
    }

    /// A mistake of the file as a whole: something is missing.
    pub(crate) fn nowhere(&mut self, path: &str, message: impl Into<String>) {
        self.problems.push(Problem {
            source: self.file.clone(),
            path: path.to_owned(),
            line: None,
            message: message.into(),
        });
    }

    /// How a reader finds `key`: its path as written, and the line or variable.
    pub(crate) fn whereabouts(&self, key: &Path) -> String {
        match self.places.get(&key.to_string()) {
            Some((written, Origin::Line(line))) => format!("`{written}` (line {line})"),
            Some((_, Origin::Variable(name))) => format!("`{name}`"),
            None => format!("`{key}`"),
        }
    }

    /// Whether `key` was written at all.
    pub(crate) fn is_written(&self, key: &Path) -> bool {
        self.places.contains_key(&key.to_string())
    }

    /// Whether an environment variable sets `key`.
    pub(crate) fn is_variable(&self, key: &Path) -> bool {
        matches!(
            self.places.get(&key.to_string()),
            Some((_, Origin::Variable(_)))
        )
    }

    /// Whether something at or under `key` was found wrong, so that what it lacks may be due to
    /// that.
    pub(crate) fn is_broken(&self, key: &Path) -> bool {
        let Some((written, _)) = self.places.get(&key.to_string()) else {
            return false;
        };
        let written = written.to_string();
        self.problems
            .iter()
            .any(|problem| problem.path.starts_with(&written))
    }

    /// Adds what was found in another file.
    pub(crate) fn join(&mut self, other: Self) {
        self.problems.extend(other.problems);
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }

    pub(crate) fn into_problems(self) -> Problems {
        Problems::sorted(self.problems, &self.file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_read_as_in_the_documentation() {
        let path = Path::default()
            .field("providers")
            .entry("my.ai")
            .field("credentials")
            .item(2);
        assert_eq!(path.to_string(), "providers.my.ai.credentials[2]");
        assert_eq!(path.pattern(), "providers.*.credentials[]");
    }

    #[test]
    fn an_unwritten_key_is_reported_at_its_parent() {
        let mut report = Report::new("c.yaml".into());
        let key = Path::default().field("api_keys");
        let written = Path::default().field("api-keys");
        report.place(&key, &written, &Origin::Line(4));
        report.at(&key.item(0).field("key"), "missing");
        assert_eq!(
            report.into_problems().to_string(),
            "c.yaml:4: api-keys[0].key: missing"
        );
    }
}
