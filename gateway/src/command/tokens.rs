//! The command `turnpike token`: it changes the store, and a gateway that runs beside it hears of
//! that by the store's news.

use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::{Value, json};
use thiserror::Error;
use turnpike_api::{Store, StoreError};
use turnpike_config::{Environment, Plan};
use turnpike_identity::agent_tokens::{self, Binding, Costs, IssueError, Issued, NewToken};

use super::store::{self, OpenError, opened};
use super::table::{Table, pretty};
use crate::cli::{Asked, TokenCommand};
use crate::clock::millis;
use crate::token_entry::{self, NewTokenEntry, TokenEntry};
use crate::upstream::roll::time;

/// Why the command has no answer.
#[derive(Debug, Error)]
pub enum TokenError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("cannot read the store")]
    Store(#[from] StoreError),
    #[error(transparent)]
    Issue(#[from] IssueError),
    #[error("no agent token has the id `{0}`; `turnpike token list` shows those there are")]
    Unknown(String),
    #[error("no tenant `{0}` is configured")]
    NoTenant(String),
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
            tenant,
            asked,
        } => {
            let office = Office::open(asked, environment)?;
            office.has_tenant(tenant.as_deref())?;
            let new = NewToken {
                name: name.clone(),
                tenant: tenant.clone(),
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
                true => say(&pretty(&json!(TokenEntry::new(&record, None, office.now)))),
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
    /// To change something. A token may come before the gateway's first start.
    fn open(asked: &Asked, environment: &Environment) -> Result<Self, TokenError> {
        Self::of(opened(asked, environment, store::open))
    }

    /// To look only.
    fn look(asked: &Asked, environment: &Environment) -> Result<Self, TokenError> {
        Self::of(opened(asked, environment, store::look))
    }

    fn of(opened: Result<(Plan, Arc<dyn Store>, u64), OpenError>) -> Result<Self, TokenError> {
        let (plan, store, now) = opened?;
        Ok(Self { plan, store, now })
    }

    /// A token of another would let nobody in.
    fn has_tenant(&self, tenant: Option<&str>) -> Result<(), TokenError> {
        let Some(name) = tenant else { return Ok(()) };
        match self.plan.tenants.iter().any(|one| one.name == name) {
            true => Ok(()),
            false => Err(TokenError::NoTenant(name.to_owned())),
        }
    }

    fn costs(&self) -> Costs {
        token_entry::costs(self.plan.agent_tokens.argon2)
    }

    async fn list(&self, as_json: bool) -> Result<String, TokenError> {
        let tokens = token_entry::all(&*self.store, self.now).await?;
        if as_json {
            return Ok(pretty(&json!({ "tokens": tokens })));
        }
        if tokens.is_empty() {
            return Ok(
                "there are no agent tokens; `turnpike token create --name NAME` makes one".into(),
            );
        }
        let head = [
            "ID",
            "NAME",
            "STATE",
            "TENANT",
            "OWNER",
            "CREATED",
            "LAST USED",
        ];
        let mut table = Table::new(head);
        for token in tokens {
            let owner = token.owner().unwrap_or("-").to_owned();
            table.row([
                token.id,
                token.name,
                token.state.into(),
                token.tenant.unwrap_or_else(|| "-".into()),
                owner,
                token.created_at,
                token.last_used_at.unwrap_or_else(|| "-".into()),
            ]);
        }
        Ok(table.text())
    }

    async fn show(&self, id: &str, as_json: bool) -> Result<String, TokenError> {
        let found = token_entry::one(&*self.store, id, self.now).await?;
        let (token, _) = found.ok_or_else(|| TokenError::Unknown(id.to_owned()))?;
        let entry = json!(token);
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
        return pretty(&json!(NewTokenEntry::new(issued, now)));
    }
    format!(
        "{}\n\nThis is {} ({}). It is shown this once: only a hash of it is kept.\nPresent it as `Authorization: Bearer …` or as the agent's API key.",
        issued.token.expose(),
        issued.record.name,
        issued.record.id,
    )
}
