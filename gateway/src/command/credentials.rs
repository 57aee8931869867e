//! The command `turnpike credentials`: what the configuration, the credential files and the store
//! say of each credential, whether a gateway runs beside it or not.

use std::fmt::Write as _;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use thiserror::Error;
use turnpike_api::{Clock, StoreError};
use turnpike_config::{Environment, Problems};

use super::rewrite::rewrite;
use super::store;
use super::table::{Table, pretty};
use crate::assemble::{Ground, assemble, credential_directory};
use crate::background::{cooldowns, news};
use crate::boot::BootError;
use crate::cli::{Asked, CredentialsCommand};
use crate::clock::Time;
use crate::configuration;
use crate::runtime::{Listening, Runtime};
use crate::snapshot::Snapshot;
use crate::store::StoreOpenError;
use crate::upstream::call::{self, Listed};
use crate::upstream::entry::CredentialEntry;
use crate::upstream::roll::{Enrolled, Report};

/// Why the command has no answer.
#[derive(Debug, Error)]
pub enum CommandError {
    #[error(transparent)]
    Configuration(#[from] Problems),
    #[error(transparent)]
    Boot(#[from] BootError),
    #[error("cannot open the store")]
    Open(#[from] StoreOpenError),
    #[error("cannot read the store")]
    Store(#[from] StoreError),
    #[error("no credential is called `{0}`; `turnpike credentials list` shows those there are")]
    Unknown(String),
    #[error("{0} of them did not pass")]
    Failed(usize),
    #[error("{0}")]
    Directory(String),
    #[error("{0} of the files were left as they were")]
    Left(usize),
}

/// Runs the command, and hands each part of its answer on as soon as there is one.
pub async fn run(
    command: &CredentialsCommand,
    environment: &Environment,
    say: impl Fn(&str),
) -> Result<(), CommandError> {
    match command {
        CredentialsCommand::List { asked } => {
            let look = Look::take(asked, environment, false).await?;
            say(look.list(asked.json).trim_end());
            Ok(())
        }
        CredentialsCommand::Show { id, asked } => {
            let look = Look::take(asked, environment, false).await?;
            let found = look.roll().find(|one| *one.id == **id);
            let found = found.ok_or_else(|| CommandError::Unknown(id.clone()))?;
            say(look.show(found, asked.json).trim_end());
            Ok(())
        }
        CredentialsCommand::Test { id, asked } => {
            let look = Look::take(asked, environment, true).await?;
            look.test(id.as_deref(), asked.json, say).await
        }
        CredentialsCommand::Rewrite { asked } => rewrite_files(asked, environment, say),
    }
}

fn rewrite_files(
    asked: &Asked,
    environment: &Environment,
    say: impl Fn(&str),
) -> Result<(), CommandError> {
    let plan = configuration::load(&asked.config.path, environment)?;
    let mut left = 0;
    let rewritten = rewrite(&plan, |file, done| {
        left += usize::from(done.is_err());
        let (done, why) = match done {
            Ok(done) => (done.word(), String::new()),
            Err(why) => ("left as it was", why.to_string()),
        };
        match asked.json {
            true => say(&json!({ "file": file, "done": done, "why": why }).to_string()),
            false if why.is_empty() => say(&format!("{file}: {done}")),
            false => say(&format!("{file}: {done}: {why}")),
        }
    });
    rewritten.map_err(CommandError::Directory)?;
    match left {
        0 => Ok(()),
        left => Err(CommandError::Left(left)),
    }
}

/// Everything that is known, in the form in which a gateway has it.
struct Look {
    runtime: Runtime,
    snapshot: Arc<Snapshot>,
    now: u64,
}

impl Look {
    async fn take(
        asked: &Asked,
        environment: &Environment,
        tells: bool,
    ) -> Result<Self, CommandError> {
        let plan = configuration::load(&asked.config.path, environment)?;
        let clock = Time::system();
        let ground = Ground::new(clock.clone(), plan.agent_tokens.max_concurrent_hashes)?;
        let mut directory = credential_directory(&plan);
        directory.scan();
        let open = if tells { store::change } else { store::look };
        let store = open(&plan.state, clock)?;
        cooldowns::restore(&ground.board, &*store).await?;
        ground.agent_tokens.read(&*store).await?;
        let snapshot = assemble(&plan, directory.entries(), &ground, 0, true);
        let snapshot = snapshot.map_err(BootError::Assemble)?;
        cooldowns::open_accounts(snapshot.usable(), &ground.board, &*store).await?;
        let now = ground.board.time.now();
        let listening = Listening { shared: false };
        let runtime = Runtime::new(snapshot, &ground, store, listening);
        let snapshot = runtime.snapshot();
        Ok(Self {
            runtime,
            snapshot,
            now,
        })
    }

    fn roll(&self) -> impl Iterator<Item = &Enrolled> {
        self.snapshot.roll.iter()
    }

    fn list(&self, as_json: bool) -> String {
        if as_json {
            let all: Vec<Value> = self.roll().map(|one| self.entry(one)).collect();
            return pretty(&json!({ "auths": all }));
        }
        let mut table = Table::new(["CREDENTIAL", "KIND", "STATUS", "USED", "BACK", "WHY"]);
        for one in self.roll() {
            let Report {
                status,
                message,
                back,
            } = one.report(self.now);
            table.row([
                one.id.to_string(),
                one.kind.to_owned(),
                status.as_str().to_owned(),
                used(one),
                back.map_or("-".into(), |back| relative(back, self.now)),
                message,
            ]);
        }
        table.text()
    }

    fn show(&self, one: &Enrolled, as_json: bool) -> String {
        let entry = self.entry(one);
        let models = self.models(one);
        if as_json {
            let mut entry = entry;
            entry["models"] = json!(
                models
                    .iter()
                    .map(|(name, state)| json!({ "model": name, "state": state }))
                    .collect::<Vec<_>>()
            );
            return pretty(&entry);
        }
        let mut text = String::new();
        for (key, value) in entry.as_object().into_iter().flatten() {
            let shown = match value {
                Value::Null => continue,
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            // Writing to memory does not fail.
            let _ = writeln!(text, "{key:18}{shown}");
        }
        let _ = writeln!(text, "models");
        for (name, state) in models {
            let _ = writeln!(text, "  {name:34}{state}");
        }
        text
    }

    /// The listed names it serves, and whether it does so now.
    fn models(&self, one: &Enrolled) -> Vec<(String, String)> {
        let mut models = Vec::new();
        for (name, served) in self
            .snapshot
            .tenants
            .serving(one.pool.as_deref())
            .catalogue()
            .listed()
        {
            let pools = served.dialects().filter_map(|dialect| served.pool(dialect));
            for pool in pools {
                let mut members = pool.members();
                let Some(member) = members.find(|member| member.credential.id == one.id) else {
                    continue;
                };
                let state = member.credential.state(member.model, self.now);
                models.push((name.to_owned(), state.words(self.now)));
            }
        }
        models
    }

    /// As the management API lists it.
    fn entry(&self, one: &Enrolled) -> Value {
        json!(CredentialEntry::new(one, self.now))
    }

    async fn test(
        &self,
        id: Option<&str>,
        as_json: bool,
        say: impl Fn(&str),
    ) -> Result<(), CommandError> {
        let chosen: Vec<&Enrolled> = self
            .roll()
            .filter(|one| id.is_none_or(|id| *one.id == *id))
            .collect();
        if let (Some(id), true) = (id, chosen.is_empty()) {
            return Err(CommandError::Unknown(id.to_owned()));
        }
        let mut failed = 0;
        for one in chosen {
            let (passed, what) = self.test_one(one).await;
            failed += usize::from(passed == Some(false));
            let word = match passed {
                Some(true) => "good",
                Some(false) => "failed",
                None => "untested",
            };
            say(&match as_json {
                true => json!({ "id": &*one.id, "result": word, "message": what }).to_string(),
                false => format!("{:<10}{}  {what}", word, one.id),
            });
        }
        match failed {
            0 => Ok(()),
            failed => Err(CommandError::Failed(failed)),
        }
    }

    /// Whether it passed, if it can be tested.
    async fn test_one(&self, one: &Enrolled) -> (Option<bool>, String) {
        let Some(credential) = one.credential() else {
            return (None, one.report(self.now).message);
        };
        let Some(path) = credential.vendor.plugin.model_list() else {
            // Its token can be asked for all the same.
            return match credential.access(&self.runtime).await {
                Ok(_) => (
                    None,
                    "this provider has no list of models to ask for".into(),
                ),
                Err(error) => (Some(false), error.to_string()),
            };
        };
        match call::model_list(&self.runtime, credential, path).await {
            Listed::Good(_) => {
                let told = news::tell_well(&*self.runtime.store, &credential.id).await;
                let told = told.err().map_or(String::new(), |error| {
                    format!("; a running gateway could not be told: {error}")
                });
                (
                    Some(true),
                    format!("{} lists its models{told}", credential.endpoint),
                )
            }
            Listed::Refused(status) => (
                Some(false),
                format!("{} answered {status}", credential.endpoint),
            ),
            Listed::Broken(error) => (Some(false), error.to_string()),
        }
    }
}

fn used(one: &Enrolled) -> String {
    let Some(credential) = one.credential() else {
        return "-".into();
    };
    let spent = credential.standing.allowance.spent();
    match credential.quota.limit {
        None => spent.to_string(),
        Some(limit) => format!("{spent} of {limit}"),
    }
}

/// A time and how far it is from now.
fn relative(at: u64, now: u64) -> String {
    let left = at.saturating_sub(now).div_ceil(1000);
    let left = match left {
        0..120 => format!("{left} s"),
        120..7_200 => format!("{} min", left / 60),
        7_200..172_800 => format!("{} h", left / 3_600),
        _ => format!("{} d", left / 86_400),
    };
    match Timestamp::from_second(i64::try_from(at / 1000).unwrap_or(i64::MAX)) {
        Ok(_) => format!("in {left}"),
        Err(_) => "-".into(),
    }
}
