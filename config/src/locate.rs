//! Where a key stands: its path, and the line or the environment variable it came from.

use std::borrow::Cow;
use std::fmt;
use std::iter::successors;
use std::rc::Rc;

use crate::problem::{Problem, Problems};
use crate::tree::{Node, shown};

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
pub(crate) enum Step<Name> {
    /// A key this crate knows.
    Field(Name),
    /// A key the operator chose, such as a provider's name.
    Entry(Name),
    Item(usize),
}

/// A key path, `providers.openai.credentials[0]`. Those of a list's items share what is above them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Path(Option<Rc<Link>>);

/// Most are this crate's own words, which nobody need copy.
pub(crate) type Name = Cow<'static, str>;

#[derive(Debug, PartialEq, Eq)]
struct Link {
    above: Path,
    step: Step<Name>,
}

impl Path {
    pub(crate) fn field(&self, name: impl Into<Name>) -> Self {
        self.with(Step::Field(name.into()))
    }

    pub(crate) fn entry(&self, name: &str) -> Self {
        self.with(Step::Entry(name.to_owned().into()))
    }

    pub(crate) fn item(&self, index: usize) -> Self {
        self.with(Step::Item(index))
    }

    fn with(&self, step: Step<Name>) -> Self {
        let above = self.clone();
        Self(Some(Rc::new(Link { above, step })))
    }

    pub(crate) fn depth(&self) -> usize {
        self.steps().len()
    }

    /// From the root on.
    fn steps(&self) -> Vec<&Step<Name>> {
        let links = successors(self.0.as_deref(), |link| link.above.0.as_deref());
        let mut steps: Vec<_> = links.map(|link| &link.step).collect();
        steps.reverse();
        steps
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

    fn text(&self, name_of: impl Fn(&Step<Name>) -> &str) -> String {
        let mut text = String::new();
        for step in self.steps() {
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

/// Where a walk through a tree is. It costs nothing, and becomes a [`Path`] only where there is
/// something to say: of the many keys of a large file hardly any is wrong.
#[derive(Default)]
pub(crate) struct Trail<'t>(Option<(&'t Trail<'t>, Step<&'t str>)>);

impl<'t> Trail<'t> {
    pub(crate) fn field(&'t self, name: &'t str) -> Self {
        Self(Some((self, Step::Field(name))))
    }

    pub(crate) fn entry(&'t self, name: &'t str) -> Self {
        Self(Some((self, Step::Entry(name))))
    }

    pub(crate) fn item(&'t self, index: usize) -> Self {
        Self(Some((self, Step::Item(index))))
    }

    /// As it may be shown.
    pub(crate) fn path(&self) -> Path {
        let Some((above, step)) = &self.0 else {
            return Path::default();
        };
        above.path().with(match step {
            Step::Field(name) => Step::Field(shown(name).into()),
            Step::Entry(name) => Step::Entry(shown(name).into()),
            Step::Item(index) => Step::Item(*index),
        })
    }
}

/// The mistakes found so far, and what was written.
///
/// Checks name a key as the document types spell it; the report shows it as it was written.
pub(crate) struct Report {
    file: String,
    /// Of which the document was made; what stands where is looked up in it when something is wrong.
    written: Option<Node>,
    problems: Vec<Problem>,
}

/// Where a key of the document was written.
struct Place<'r> {
    written: Path,
    origin: &'r Origin,
    /// How many steps of the key lead there; the rest is not written.
    depth: usize,
}

impl Report {
    pub(crate) fn new(file: String) -> Self {
        Self {
            file,
            written: None,
            problems: Vec::new(),
        }
    }

    /// From now on keys are those of the document that was made of `tree`.
    pub(crate) fn made_of(&mut self, tree: Node) {
        self.written = Some(tree);
    }

    /// The place of `key`, or of the closest key above it that was written.
    fn closest(&self, key: &Path) -> Option<Place<'_>> {
        let mut node = self.written.as_ref()?;
        let mut place = Place {
            written: Path::default(),
            origin: &node.origin,
            depth: 0,
        };
        for step in key.steps() {
            let Some((step, origin, below)) = node.step(step) else {
                break;
            };
            place = Place {
                written: place.written.with(step),
                origin,
                depth: place.depth + 1,
            };
            node = below;
        }
        Some(place)
    }

    fn place(&self, key: &Path) -> Option<Place<'_>> {
        let closest = self.closest(key)?;
        (closest.depth == key.depth()).then_some(closest)
    }

    /// A mistake at a key of the document, or at the closest key above it that was written.
    pub(crate) fn at(&mut self, key: &Path, message: impl Into<String>) {
        let Some(place) = self.closest(key) else {
            return self.nowhere(&key.to_string(), message);
        };
        let rest = key.steps().into_iter().skip(place.depth).cloned();
        let written = rest.fold(place.written, |above, step| above.with(step));
        let origin = place.origin.clone();
        self.found(&written, &origin, message);
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
        let Some(Place {
            written, origin, ..
        }) = self.place(key)
        else {
            return format!("`{key}`");
        };
        match origin {
            Origin::Line(line) => format!("`{written}` (line {line})"),
            Origin::Variable(name) => format!("`{name}`"),
        }
    }

    /// Whether `key` was written at all.
    pub(crate) fn is_written(&self, key: &Path) -> bool {
        self.place(key).is_some()
    }

    /// Whether an environment variable sets `key`.
    pub(crate) fn is_variable(&self, key: &Path) -> bool {
        let place = self.place(key);
        place.is_some_and(|place| matches!(place.origin, Origin::Variable(_)))
    }

    /// Whether something at or under `key` was found wrong, so that what it lacks may be due to
    /// that.
    pub(crate) fn is_broken(&self, key: &Path) -> bool {
        if self.is_clean() {
            return false;
        }
        let Some(Place { written, .. }) = self.place(key) else {
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
        let text = "\n\n\napi-keys: []";
        let tree = crate::tree::parse(text, &mut Vec::new(), &Origin::Line);
        report.made_of(tree.ok().unwrap());
        let key = Path::default().field("api_keys");
        report.at(&key.item(0).field("key"), "missing");
        assert_eq!(
            report.into_problems().to_string(),
            "c.yaml:4: api-keys[0].key: missing"
        );
    }

    #[test]
    fn an_item_is_found_where_it_was_written_when_others_are_left_out() {
        let tree = crate::tree::parse("a-b:\n- 1\n- 2\n- 3", &mut Vec::new(), &Origin::Line);
        let tree = tree.ok().unwrap();
        let key = Path::default().field("a_b");
        let (_, _, list) = tree.step(&Step::Field("a_b".into())).unwrap();
        let (_, _, item) = list.step(&Step::Item(1)).unwrap();
        item.is_left_out.set(true);
        let mut report = Report::new("c.yaml".into());
        report.made_of(tree);
        assert_eq!(report.whereabouts(&key.item(0)), "`a-b[0]` (line 2)");
        assert_eq!(report.whereabouts(&key.item(1)), "`a-b[2]` (line 4)");
        assert!(!report.is_written(&key.item(2)));
    }
}
