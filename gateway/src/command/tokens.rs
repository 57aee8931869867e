//! The command `turnpike token`: it changes the store, and a gateway that runs beside it hears of
//! that by the store's news.

use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::{Value, json};
use thiserror::Error;
use turnpike_api::{Clock, Directory, Store, StoreError};
use turnpike_config::plan::Argon2Plan;
use turnpike_config::{Environment, Plan, Problems};
use turnpike_identity::agent_tokens::{
    self, AgentTokenRecord, Binding, Costs, IssueError, Issued, LastUse, NewToken,
};
use turnpike_store::{Embedded, OpenError};

use super::blank::Blank;
use super::table::{Table, pretty};
use crate::cli::{Asked, TokenCommand};
use crate::clock::{Time, millis};
use crate::configuration;
use crate::upstream::roll::time;

/// Why the command has no answer.
#[derive(Debug, Error)]
pub enum TokenError {
    #[error(transparent)]
    Configuration(#[from] Problems),
    #[error("cannot open the store")]
    Open(#[from] OpenError),
    #[error("cannot read the store")]
    Store(#[from] StoreError),
    #[error(transparent)]
    Issue(#[from] IssueError),
    #[error("no agent token has the id `{0}`; `turnpike token list` shows those there are")]
    Unknown(String),
}

/// Runs the command, and hands its answer on.
pub async fn run(
    command: &TokenCommand,
    environment: &Environment,
    say: impl Fn(&str),
) -> Result<(), TokenError> {
    match command {
        TokenCommand::Create {
            name,
            cidr,
            certificate,
            asked,
        } => {
            let office = Office::open(asked, environment)?;
            let new = NewToken {
                name: name.clone(),
                binding: Binding {
                    cidrs: cidr.clone(),
                    certificates: certificate.clone(),
                },
                ..NewToken::default()
            };
            let issued = agent_tokens::issue(&*office.store, new, office.costs(), office.now);
            say(&shown(&issued.await?, asked.json, office.now));
        }
        TokenCommand::List { asked } => {
            let office = Office::look(asked, environment)?;
            say(office.list(asked.json).await?.trim_end());
        }
        TokenCommand::Show { id, asked } => {
            let office = Office::look(asked, environment)?;
            say(office.show(id, asked.json).await?.trim_end());
        }
        TokenCommand::Rotate { id, overlap, asked } => {
            let office = Office::open(asked, environment)?;
            let overlap = overlap.unwrap_or(office.plan.agent_tokens.rotation_overlap);
            let (store, costs) = (&*office.store, office.costs());
            let issued = agent_tokens::rotate(store, id, overlap, costs, office.now);
            let issued = issued.await?;
            say(&shown(&issued, asked.json, office.now));
            if !asked.json {
                let until = time(office.now.saturating_add(millis(overlap)));
                say(&format!("{id} goes on until {until}."));
            }
        }
        TokenCommand::Revoke { id, asked } => {
            let office = Office::open(asked, environment)?;
            let record = agent_tokens::revoke(&*office.store, id, office.now).await?;
            match asked.json {
                true => say(&pretty(&entry(&record, None, office.now))),
                false => say(&format!("{id} ({}) is revoked, for good.", record.name)),
            }
        }
    }
    Ok(())
}

/// The store, and what the configuration says of tokens.
struct Office {
    plan: Plan,
    store: Arc<dyn Store>,
    now: u64,
}

impl Office {
    /// To change something. The store is made where there is none: a token may come before the
    /// gateway's first start.
    fn open(asked: &Asked, environment: &Environment) -> Result<Self, TokenError> {
        let (plan, time) = (
            configuration::load(&asked.config, environment)?,
            Time::system(),
        );
        let (path, now) = (&plan.state.path, time.now());
        let clock = Arc::new(time);
        let store: Arc<dyn Store> = Arc::new(Embedded::open_beside(path, clock)?);
        Ok(Self { plan, store, now })
    }

    /// To look only.
    fn look(asked: &Asked, environment: &Environment) -> Result<Self, TokenError> {
        let (plan, time) = (
            configuration::load(&asked.config, environment)?,
            Time::system(),
        );
        let (path, now) = (&plan.state.path, time.now());
        let clock = Arc::new(time);
        let store: Arc<dyn Store> = match path.exists() {
            true => Arc::new(Embedded::open_read_only(path, clock)?),
            false => Arc::new(Blank),
        };
        Ok(Self { plan, store, now })
    }

    fn costs(&self) -> Costs {
        let Argon2Plan {
            memory_kib,
            iterations,
            parallelism,
        } = self.plan.agent_tokens.argon2;
        Costs {
            memory_kib,
            iterations,
            parallelism,
        }
    }

    async fn records(&self) -> Result<Vec<(AgentTokenRecord, Option<LastUse>)>, StoreError> {
        let records = Directory::list(&*self.store, agent_tokens::KIND).await?;
        let uses = Directory::list(&*self.store, agent_tokens::USE).await?;
        let records = records.iter().filter_map(|(id, record)| {
            let record = serde_json::from_slice(&record.value).ok()?;
            let used = uses.binary_search_by(|(other, _)| other.cmp(id)).ok();
            let used = used.and_then(|at| serde_json::from_slice(&uses[at].1.value).ok());
            Some((record, used))
        });
        let mut records: Vec<(AgentTokenRecord, Option<LastUse>)> = records.collect();
        records.sort_by(|(one, _), (other, _)| {
            (&one.name, one.created_at, &one.id).cmp(&(&other.name, other.created_at, &other.id))
        });
        Ok(records)
    }

    async fn list(&self, as_json: bool) -> Result<String, TokenError> {
        let records = self.records().await?;
        if as_json {
            let all = records.iter();
            let all = all.map(|(record, used)| entry(record, used.as_ref(), self.now));
            return Ok(pretty(&json!({ "tokens": all.collect::<Vec<_>>() })));
        }
        if records.is_empty() {
            return Ok(
                "there are no agent tokens; `turnpike token create --name NAME` makes one".into(),
            );
        }
        let mut table = Table::new(["ID", "NAME", "STATE", "OWNER", "CREATED", "LAST USED"]);
        for (record, used) in &records {
            let owner = record.owner.as_ref();
            let owner = owner.map(|owner| owner.email.as_ref().unwrap_or(&owner.subject));
            table.row([
                record.id.clone(),
                record.name.clone(),
                record.state(self.now).as_str().into(),
                owner.cloned().unwrap_or_else(|| "-".into()),
                time(record.created_at),
                used.as_ref()
                    .map_or_else(|| "-".into(), |used| time(used.at)),
            ]);
        }
        Ok(table.text())
    }

    async fn show(&self, id: &str, as_json: bool) -> Result<String, TokenError> {
        let records = self.records().await?;
        let found = records.iter().find(|(record, _)| record.id == id);
        let (record, used) = found.ok_or_else(|| TokenError::Unknown(id.to_owned()))?;
        let entry = entry(record, used.as_ref(), self.now);
        if as_json {
            return Ok(pretty(&entry));
        }
        let mut text = String::new();
        for (key, value) in entry.as_object().into_iter().flatten() {
            let value = match value {
                Value::Null => continue,
                Value::String(value) => value.clone(),
                other => other.to_string(),
            };
            // A string takes everything.
            let _ = writeln!(text, "{:22} {value}", format!("{key}:"));
        }
        Ok(text)
    }
}

/// A token that was just made. This is the only time that it is seen.
fn shown(issued: &Issued, as_json: bool, now: u64) -> String {
    if as_json {
        let mut entry = entry(&issued.record, None, now);
        entry["token"] = issued.token.expose().into();
        return pretty(&entry);
    }
    format!(
        "{}\n\nThis is {} ({}). It is shown this once: only a hash of it is kept.\nPresent it as `Authorization: Bearer …` or as the agent's API key.",
        issued.token.expose(),
        issued.record.name,
        issued.record.id,
    )
}

fn entry(record: &AgentTokenRecord, used: Option<&LastUse>, now: u64) -> Value {
    let moment = |at: Option<u64>| at.map(time);
    json!({
        "id": record.id,
        "name": record.name,
        "state": record.state(now).as_str(),
        "is_active": record.state(now) == agent_tokens::TokenState::Active,
        "owner": record.owner,
        "created_at": time(record.created_at),
        "last_authenticated_at": moment(record.last_authenticated_at),
        "auth_expires_at": moment(record.auth_expires_at),
        "last_used_at": moment(used.map(|used| used.at)),
        "last_used_ip": used.map(|used| used.ip),
        "last_used_user_agent": used.and_then(|used| used.user_agent.clone()),
        "ends_at": moment(record.ends_at),
        "rotated_to": record.rotated_to,
        "revoked_at": moment(record.revoked_at),
        "cidrs": record.binding.cidrs,
        "certificates": record.binding.certificates,
    })
}
