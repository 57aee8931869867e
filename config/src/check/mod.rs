//! From document to plan: every rule a schema cannot say, one file a subject.
//!
//! A check pushes what it finds onto the report and goes on; it answers `None` when it has nothing
//! to put into the plan. Nothing here stops at the first mistake.

mod credential;
mod egress;
mod headers;
mod keys;
mod lists;
mod models;
mod providers;
mod proxy;
mod server;
mod tls;
mod url;

use std::path::{Path as FilePath, PathBuf};

use crate::Kinds;
use crate::document::{Document, Format, Level, Logging, Strategy};
use crate::environment::Environment;
use crate::later;
use crate::locate::{Path, Report};
use crate::plan::{LogFormat, LogLevel, LoggingPlan, Plan, Selection};
use crate::resolve;

/// What the checks share.
pub(crate) struct Context<'a> {
    pub(crate) report: &'a mut Report,
    pub(crate) environment: &'a Environment,
    pub(crate) kinds: &'a Kinds<'a>,
    pub(crate) base_dir: &'a FilePath,
    pub(crate) sources: Vec<PathBuf>,
    pub(crate) warnings: Vec<String>,
}

impl Context<'_> {
    /// A file that must be readable now; it is watched from then on.
    fn readable(&mut self, key: &Path, written: &str) -> PathBuf {
        let path = self.base_dir.join(written);
        if written.is_empty() {
            self.report
                .at(key, "empty; write a path or leave the key out");
        } else if let Err(error) = std::fs::File::open(&path).and_then(|file| is_file(&file)) {
            let why = resolve::reason(&error);
            self.report.at(
                key,
                format!("cannot read the file {}: {why}", path.display()),
            );
        }
        self.sources.push(path.clone());
        path
    }

    fn warn(&mut self, key: &Path, message: impl std::fmt::Display) {
        self.warnings.push(format!("{key}: {message}"));
    }
}

fn is_file(file: &std::fs::File) -> std::io::Result<()> {
    match file.metadata()?.is_dir() {
        true => Err(std::io::ErrorKind::IsADirectory.into()),
        false => Ok(()),
    }
}

/// The plan; `None` when something was reported.
pub(crate) fn plan(document: &Document, mut context: Context<'_>) -> Option<Plan> {
    let context = &mut context;
    environment(context);
    let server = server::server(&document.server, context);
    let admin = server::admin(&document.admin, &document.server, context);
    let client_keys = keys::client_keys(&document.api_keys, context);
    keys::open_mode(&client_keys, &document.server, context);
    let providers = providers::providers(document, context);
    let egress = egress::egress(&document.egress, context);
    let selection = selection(document, context);
    let logging = logging(&document.logging, context);
    if !context.report.is_clean() {
        return None;
    }
    Some(Plan {
        server: server?,
        admin,
        logging,
        client_keys,
        providers,
        force_model_prefix: document.force_model_prefix,
        selection,
        max_retry_credentials: document.max_retry_credentials.0,
        egress,
        warnings: std::mem::take(&mut context.warnings),
        sources: std::mem::take(&mut context.sources),
    })
}

/// Variables of other programs that ask for what is not served yet.
fn environment(context: &mut Context<'_>) {
    let switch = context
        .environment
        .get("SSO_ENABLED")
        .unwrap_or_default()
        .to_lowercase();
    if !matches!(switch.trim(), "" | "false" | "0" | "no" | "off") {
        context.report.variable(
            "SSO_ENABLED",
            format!("single sign-on is {}", later::MESSAGE),
        );
    }
}

fn selection(document: &Document, context: &mut Context<'_>) -> Selection {
    let key = Path::default().field("auth").field("selection_strategy");
    let alias = Path::default().field("routing").field("strategy");
    let (auth, routing) = (document.auth.selection_strategy, document.routing.strategy);
    // An environment variable for one wins over the other in the file.
    let (auth, routing) = match (
        context.report.is_variable(&key),
        context.report.is_variable(&alias),
    ) {
        (true, false) => (auth, None),
        (false, true) => (None, routing),
        _ => (auth, routing),
    };
    if let (Some(one), Some(other)) = (auth, routing)
        && one != other
    {
        let other = context.report.whereabouts(&key);
        context.report.at(
            &alias,
            format!("differs from {other}, which is the same setting"),
        );
    }
    auth.or(routing).map_or(Selection::RoundRobin, strategy)
}

fn strategy(written: Strategy) -> Selection {
    match written {
        Strategy::RoundRobin => Selection::RoundRobin,
        Strategy::Priority => Selection::Priority,
    }
}

fn logging(written: &Logging, context: &mut Context<'_>) -> LoggingPlan {
    let key = Path::default().field("logging").field("file");
    if written.file.as_deref() == Some("") {
        context.report.at(
            &key,
            "empty; write a path, or leave the key out for standard error",
        );
    }
    LoggingPlan {
        level: match written.level {
            Level::Error => LogLevel::Error,
            Level::Warn => LogLevel::Warn,
            Level::Info => LogLevel::Info,
            Level::Debug => LogLevel::Debug,
            Level::Trace => LogLevel::Trace,
        },
        format: match written.format {
            Format::Text => LogFormat::Text,
            Format::Json => LogFormat::Json,
        },
        file: written
            .file
            .as_ref()
            .map(|file| context.base_dir.join(file)),
    }
}
