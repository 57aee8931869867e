//! The command `turnpike person`: what is kept of somebody, and its removal when they leave.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::json;
use thiserror::Error;
use turnpike_api::{Store, StoreError};
use turnpike_config::Environment;
use turnpike_identity::people::{self, Kept};
use turnpike_identity::sso::session::SessionError;

use super::store::{self, OpenError, opened};
use super::table::{Table, pretty};
use crate::cli::PersonCommand;
use crate::token_entry::TokenEntry;
use crate::upstream::roll::time;

/// Why the command has no answer.
#[derive(Debug, Error)]
pub enum PersonError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("cannot read the store")]
    Store(#[from] StoreError),
    #[error("not everything is removed; run the command again")]
    Forget(#[source] SessionError),
    #[error("nothing is kept of `{0}`; `turnpike person list` shows everybody")]
    Unknown(String),
    #[error(
        "`{0}` may be {1} people; name one by the key that `turnpike person show` has for each"
    )]
    Several(String, usize),
    #[error(
        "something of `{0}` was written meanwhile; end their account at the identity provider, and run the command again"
    )]
    Back(String),
}

/// Runs the command, and hands its answer on.
pub async fn run(
    command: &PersonCommand,
    environment: &Environment,
    say: impl Fn(&str),
) -> Result<(), PersonError> {
    match command {
        PersonCommand::List { asked } => {
            let (_, store, now) = opened(asked, environment, store::look)?;
            let everybody = people::all(&*store).await?;
            match asked.json {
                true => say(&pretty(&json!({ "people": entries(&everybody, now) }))),
                false => say(table(&everybody, now).trim_end()),
            }
        }
        PersonCommand::Show { who, asked } => {
            let (_, store, now) = opened(asked, environment, store::look)?;
            let found = people::find(&*store, who).await?;
            if found.is_empty() {
                return Err(PersonError::Unknown(who.clone()));
            }
            // What there is of somebody is theirs to have, in a form that other programs read.
            say(&pretty(&json!({ "people": entries(&found, now) })));
        }
        PersonCommand::Forget { who, asked } => {
            let (_, store, now) = opened(asked, environment, store::change)?;
            let kept = forget(&*store, who, now).await?;
            match asked.json {
                true => say(&pretty(&json!({ "removed": PersonEntry::new(&kept, now) }))),
                false => say(&format!(
                    "{} is forgotten: the session, and {} agent tokens.",
                    kept.person.shown(),
                    kept.tokens.len()
                )),
            }
        }
    }
    Ok(())
}

/// Removes the one who is meant. Answers with what there was.
async fn forget(store: &dyn Store, who: &str, now: u64) -> Result<Kept, PersonError> {
    let mut found = people::find(store, who).await?;
    let kept = match found.len() {
        0 => return Err(PersonError::Unknown(who.to_owned())),
        1 => found.remove(0),
        several => return Err(PersonError::Several(who.to_owned(), several)),
    };
    let forgotten = people::forget(store, &kept, now).await;
    forgotten.map_err(PersonError::Forget)?;
    match people::find(store, &kept.key).await?.is_empty() {
        true => Ok(kept),
        false => Err(PersonError::Back(who.to_owned())),
    }
}

/// Somebody, with everything that is kept of them.
#[derive(Serialize)]
struct PersonEntry {
    key: String,
    issuer: String,
    subject: String,
    email: Option<String>,
    groups: Vec<String>,
    team: Option<String>,
    claims: BTreeMap<String, Vec<String>>,
    /// As the authorization API said.
    roles: Vec<String>,
    tenant: Option<String>,
    provider: Option<String>,
    signed_in_at: Option<String>,
    session_ends_at: Option<String>,
    /// The session is renewed in the background.
    renewable: bool,
    tokens: Vec<TokenEntry>,
}

impl PersonEntry {
    fn new(kept: &Kept, now: u64) -> Self {
        let session = kept.session.as_ref();
        let person = kept.person.clone();
        let tokens = kept.tokens.iter();
        Self {
            key: kept.key.clone(),
            issuer: person.issuer,
            subject: person.subject,
            email: person.email,
            groups: person.groups,
            team: person.team,
            claims: person.claims,
            roles: session.map_or_else(Vec::new, |session| session.roles.clone()),
            tenant: person.tenant,
            provider: session.map(|session| session.provider.clone()),
            signed_in_at: session.map(|session| time(session.created_at)),
            session_ends_at: session.map(|session| time(session.expires_at)),
            renewable: kept.renewable,
            tokens: tokens
                .map(|(token, used)| TokenEntry::new(token, used.as_ref(), now))
                .collect(),
        }
    }
}

fn entries(people: &[Kept], now: u64) -> Vec<PersonEntry> {
    let people = people.iter();
    people.map(|kept| PersonEntry::new(kept, now)).collect()
}

fn table(people: &[Kept], now: u64) -> String {
    if people.is_empty() {
        return "nothing is kept of anybody: nobody has logged in".into();
    }
    let mut table = Table::new(["PERSON", "PROVIDER", "SESSION", "TOKENS", "KEY"]);
    for kept in people {
        let session = kept.session.as_ref();
        let provider = session.map_or("-", |session| &session.provider);
        let until = session.map_or("-".into(), |session| match session.is_live(now) {
            true => format!("until {}", time(session.expires_at)),
            false => "over".into(),
        });
        table.row([
            kept.person.shown().to_owned(),
            provider.to_owned(),
            until,
            kept.tokens.len().to_string(),
            kept.key.clone(),
        ]);
    }
    table.text()
}
