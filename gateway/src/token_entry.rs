//! An agent token as operators are shown it, by the command line and by the management API.

use serde::{Serialize, Serializer};
use turnpike_api::{Directory, Secret, StoreError};
use turnpike_config::plan::Argon2Plan;
use turnpike_identity::agent_tokens::{
    AgentTokenRecord, Costs, Issued, KIND, LastUse, TokenState, USE,
};
use utoipa::ToSchema;

use crate::upstream::roll::time;

/// An agent token. Its secret is not known to the gateway.
#[derive(Serialize, ToSchema)]
pub struct TokenEntry {
    pub id: String,
    pub name: String,
    /// `active`, `session-expired` or `revoked`.
    pub state: &'static str,
    pub is_active: bool,
    /// `null` = a service account's, which belongs to no person.
    pub owner: Option<OwnerEntry>,
    /// The tenant that it acts for; `null` = none.
    pub tenant: Option<String>,
    pub created_at: String,
    pub last_authenticated_at: Option<String>,
    /// Until when its owner's session lasts.
    pub auth_expires_at: Option<String>,
    /// At most a minute and a half behind.
    pub last_used_at: Option<String>,
    pub last_used_ip: Option<String>,
    pub last_used_user_agent: Option<String>,
    /// From when on it is refused for good, once it was rotated.
    pub ends_at: Option<String>,
    /// The id of the token that took its place.
    pub rotated_to: Option<String>,
    pub revoked_at: Option<String>,
    /// Networks that it may be used from; empty = any.
    pub cidrs: Vec<String>,
    /// SHA-256 of client certificates that it may be used with; empty = with or without any.
    pub certificates: Vec<String>,
}

/// A person, as their identity provider knows them.
#[derive(Serialize, ToSchema)]
pub struct OwnerEntry {
    pub issuer: String,
    pub subject: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
}

/// A token that was just made: the only time that it is seen.
#[derive(Serialize, ToSchema)]
pub struct NewTokenEntry {
    #[serde(flatten)]
    pub entry: TokenEntry,
    /// What the agent presents. It is not kept, and is not shown again.
    #[serde(serialize_with = "exposed")]
    #[schema(value_type = String)]
    pub token: Secret,
}

fn exposed<S: Serializer>(secret: &Secret, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(secret.expose())
}

impl TokenEntry {
    pub fn new(record: &AgentTokenRecord, used: Option<&LastUse>, now: u64) -> Self {
        let moment = |at: Option<u64>| at.map(time);
        let owner = record.owner.as_ref().map(|owner| OwnerEntry {
            issuer: owner.issuer.clone(),
            subject: owner.subject.clone(),
            email: owner.email.clone(),
        });
        let cidrs = record.binding.cidrs.iter();
        Self {
            id: record.id.clone(),
            name: record.name.clone(),
            state: record.state(now).as_str(),
            is_active: record.state(now) == TokenState::Active,
            owner,
            tenant: record.tenant.clone(),
            created_at: time(record.created_at),
            last_authenticated_at: moment(record.last_authenticated_at),
            auth_expires_at: moment(record.auth_expires_at),
            last_used_at: moment(used.map(|used| used.at)),
            last_used_ip: used.map(|used| used.ip.to_string()),
            last_used_user_agent: used.and_then(|used| used.user_agent.clone()),
            ends_at: moment(record.ends_at),
            rotated_to: record.rotated_to.clone(),
            revoked_at: moment(record.revoked_at),
            cidrs: cidrs.map(ToString::to_string).collect(),
            certificates: record.binding.certificates.clone(),
        }
    }

    /// The owner's address, or what there is of them.
    pub fn owner(&self) -> Option<&str> {
        let owner = self.owner.as_ref()?;
        Some(owner.email.as_ref().unwrap_or(&owner.subject))
    }
}

impl NewTokenEntry {
    pub fn new(issued: &Issued, now: u64) -> Self {
        Self {
            entry: TokenEntry::new(&issued.record, None, now),
            token: issued.token.clone(),
        }
    }
}

/// Every token there is, by name. What a newer release wrote is left out.
pub async fn all(store: &dyn Directory, now: u64) -> Result<Vec<TokenEntry>, StoreError> {
    let records = store.list(KIND).await?;
    let uses = store.list(USE).await?;
    let records = records.iter().filter_map(|(id, record)| {
        let record: AgentTokenRecord = serde_json::from_slice(&record.value).ok()?;
        let used = uses.binary_search_by(|(other, _)| other.cmp(id)).ok();
        let used: Option<LastUse> =
            used.and_then(|at| serde_json::from_slice(&uses[at].1.value).ok());
        Some((record, used))
    });
    let mut records: Vec<(AgentTokenRecord, Option<LastUse>)> = records.collect();
    records.sort_by(|(one, _), (other, _)| {
        (&one.name, one.created_at, &one.id).cmp(&(&other.name, other.created_at, &other.id))
    });
    let records = records.iter();
    Ok(records
        .map(|(record, used)| TokenEntry::new(record, used.as_ref(), now))
        .collect())
}

/// One token, and which writing of its record this is.
pub async fn one(
    store: &dyn Directory,
    id: &str,
    now: u64,
) -> Result<Option<(TokenEntry, u64)>, StoreError> {
    let Some(found) = store.get(KIND, id).await? else {
        return Ok(None);
    };
    let used = store.get(USE, id).await?;
    let used: Option<LastUse> = used.and_then(|used| serde_json::from_slice(&used.value).ok());
    let record = serde_json::from_slice::<AgentTokenRecord>(&found.value).ok();
    Ok(record.map(|record| (TokenEntry::new(&record, used.as_ref(), now), found.version)))
}

/// What the hash of a new token costs.
pub fn costs(plan: Argon2Plan) -> Costs {
    Costs {
        memory_kib: plan.memory_kib,
        iterations: plan.iterations,
        parallelism: plan.parallelism,
    }
}
