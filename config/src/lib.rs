//! The configuration file, from text to plan.
//!
//! | step | does | lives in |
//! |---|---|---|
//! | tree | reads YAML, keeps the line of every node | `tree` |
//! | environment | puts `TURNPIKE_…` variables over the file | `environment` |
//! | shape | holds the tree against the schema, resolves references to secrets | `shape`, `expected`, `resolve` |
//! | document | the sections as types, one source of keys, defaults and schema | `document` |
//! | check | every rule a schema cannot say | `check` |
//! | plan | what the gateway runs by, and when quotas and limits start anew | [`plan`], `schedule`, `calendar` |
//!
//! No step stops at a mistake: each reports what it finds, leaves that out, and goes on, so that
//! an operator sees all [`Problems`] at once. Keys of later releases are listed in `later` and
//! refused, never ignored.

mod calendar;
mod check;
mod document;
mod environment;
mod expected;
mod later;
mod locate;
mod nearest;
pub mod plan;
mod problem;
mod redact;
mod resolve;
mod schedule;
mod schema;
mod shape;
mod tree;

use std::path::{Path, PathBuf};

use document::Document;
use locate::{Origin, Report};
use resolve::Resolver;
use serde_json::json;

pub use check::{proxy_choice, upstream_url};
pub use environment::Environment;
pub use plan::*;
pub use problem::{Problem, Problems};
pub use redact::print_redacted;
pub use schedule::{Period, Schedule};
pub use schema::schema;

/// The kinds of provider that the gateway was built with.
pub struct Kinds<'a> {
    /// Each kind, and whether it knows a base URL of its own.
    pub providers: &'a [(&'a str, bool)],
}

impl Kinds<'_> {
    /// Whether `kind` has a base URL of its own; `None` when there is no such kind.
    pub(crate) fn default_base_url(&self, kind: &str) -> Option<bool> {
        self.providers
            .iter()
            .find(|(name, _)| *name == kind)
            .map(|(_, has)| *has)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.providers.iter().map(|(name, _)| *name)
    }
}

/// Reads the file at `path`, and the environment over it.
pub fn load(path: &Path, environment: &Environment, kinds: &Kinds<'_>) -> Result<Plan, Problems> {
    let text = read(path)?;
    Ok(Loading::of_file(path, environment, kinds).run(&text)?.1)
}

/// Reads configuration that is not in a file; relative paths in it start at `base_dir`.
pub fn load_str(
    text: &str,
    base_dir: &Path,
    environment: &Environment,
    kinds: &Kinds<'_>,
) -> Result<Plan, Problems> {
    let loading = Loading {
        name: "config.yaml".into(),
        path: None,
        base_dir,
        environment,
        kinds,
    };
    Ok(loading.run(text)?.1)
}

pub(crate) fn read(path: &Path) -> Result<String, Problems> {
    std::fs::read_to_string(path).map_err(|error| {
        let remedy = match error.kind() {
            std::io::ErrorKind::NotFound => "; create it, or name another with --config",
            std::io::ErrorKind::InvalidData => "; it must be UTF-8 text",
            _ => "",
        };
        let why = resolve::reason(&error);
        Problems(vec![Problem {
            source: path.display().to_string(),
            path: String::new(),
            line: None,
            message: format!("cannot read the configuration file: {why}{remedy}"),
        }])
    })
}

/// One reading of one text.
pub(crate) struct Loading<'a> {
    name: String,
    path: Option<PathBuf>,
    base_dir: &'a Path,
    environment: &'a Environment,
    kinds: &'a Kinds<'a>,
}

impl<'a> Loading<'a> {
    pub(crate) fn of_file(
        path: &'a Path,
        environment: &'a Environment,
        kinds: &'a Kinds<'a>,
    ) -> Self {
        Self {
            name: path.display().to_string(),
            path: Some(path.to_owned()),
            base_dir: path.parent().unwrap_or(Path::new("")),
            environment,
            kinds,
        }
    }

    pub(crate) fn run(self, text: &str) -> Result<(Document, Plan), Problems> {
        let mut report = Report::new(self.name.clone());
        match self.steps(text, &mut report) {
            Some(done) if report.is_clean() => Ok(done),
            _ => Err(report.into_problems()),
        }
    }

    fn steps(&self, text: &str, report: &mut Report) -> Option<(Document, Plan)> {
        let mut tree = read_tree(text, report)?;
        self.environment.override_file(&mut tree, report);

        let sources = self.path.iter().cloned().collect();
        let mut resolver = Resolver {
            base_dir: self.base_dir,
            environment: self.environment,
            sources,
        };
        let value = shape::fit(&tree, &schema::DOCUMENT, &mut resolver, report);
        report.made_of(tree);
        let Ok(document) = serde_json::from_value::<Document>(value.unwrap_or_else(|| json!({})))
        else {
            // Its text may hold a value, and a value may be a secret.
            report.nowhere(
                "",
                "does not fit the document types although it fits their schema",
            );
            return None;
        };

        let context = check::Context {
            report,
            environment: self.environment,
            kinds: self.kinds,
            base_dir: self.base_dir,
            sources: resolver.sources,
            warnings: Vec::new(),
            calendars: check::Calendars::default(),
            previews: Vec::new(),
        };
        let mut plan = check::plan(&document, context)?;
        match serde_json::to_string(&document) {
            Ok(effective) => plan.effective = effective.into(),
            Err(error) => report.nowhere("", format!("cannot be written as JSON: {error}")),
        }
        plan.sources.sort();
        plan.sources.dedup();
        Some((document, plan))
    }
}

/// The text as a tree; what is wrong with it is reported.
fn read_tree(text: &str, report: &mut Report) -> Option<tree::Node> {
    let mut repeated = Vec::new();
    let tree = tree::parse(text, &mut repeated, &Origin::Line);
    for error in repeated {
        report.found(&error.path, &Origin::Line(error.line), error.message);
    }
    match tree {
        Ok(tree) => Some(tree),
        Err(error) => {
            let message = format!("not valid YAML: {}", error.message);
            report.found(&locate::Path::default(), &Origin::Line(error.line), message);
            None
        }
    }
}
