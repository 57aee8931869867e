//! One credential file, as this gateway and other tools write them: an API key, an OAuth token or
//! a Google service account, and what goes with it. Pure: bytes in, a [`CredentialFile`] out.
//!
//! Keys that are not known are left alone, because other tools keep more in these files. A known
//! key of the wrong type is an error, because it would be obeyed only half.

mod document;
mod edit;
mod error;
mod expiry;
mod lists;
mod material;
mod rules;
#[cfg(test)]
mod tests;

use turnpike_api::Secret;

use crate::ServiceAccount;

pub(crate) use document::{Document, Fields};
pub use edit::{Edit, edit};
pub use error::FileError;
pub(crate) use rules::{name as check_name, project as check_project, secret as check_secret};

/// What a file says of one credential.
pub struct CredentialFile {
    provider: Declared,
    pub material: Material,
    /// Whose it is: `label`, else `email`, else the service account's address.
    pub label: Option<String>,
    /// Lower first; 1 when the file does not say, as in configuration.
    pub priority: i64,
    /// 1 when the file does not say; never 0.
    pub weight: u32,
    pub disabled: bool,
    pub prefix: Option<String>,
    /// As written; it may hold a password. The gateway checks that it is the URL of a proxy.
    pub proxy_url: Option<Secret>,
    /// Names in lower case, each once.
    pub headers: Vec<(String, String)>,
    pub websockets: bool,
    /// Exact or with `*`.
    pub excluded_models: Vec<String>,
    pub model_aliases: Vec<ModelAlias>,
    /// Google Cloud's.
    pub project_id: Option<String>,
    /// Google Cloud's.
    pub location: Option<String>,
    /// The vendor's own name of the account.
    pub account_id: Option<String>,
    pub quota: Option<FileQuota>,
    pub note: Option<String>,
    /// The tag by which tenants name it.
    pub pool: Option<String>,
}

/// What proves to the provider who calls.
pub enum Material {
    /// A key that its owner made.
    Key(Secret),
    /// OAuth. `expires_at` is in milliseconds since 1970; `None` when the file does not say.
    Token {
        access: Secret,
        refresh: Option<Secret>,
        expires_at: Option<u64>,
    },
    /// Tokens are asked for with it.
    ServiceAccount(Box<ServiceAccount>),
}

/// A model's name at the provider, and what clients call it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelAlias {
    pub name: String,
    pub alias: String,
}

/// Tokens per period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileQuota {
    /// `None` = no limit.
    pub limit: Option<u64>,
    /// What was used of it before this gateway counted.
    pub used: u64,
}

/// Whose credential it is.
enum Declared {
    /// The file's `provider`, or its `type` where that names one.
    Named(String),
    /// Only the file's name can tell.
    Stem { stem: String, google: bool },
}

impl CredentialFile {
    /// The names its provider may have, the likeliest first: what the file declares and nothing
    /// else, or the beginnings of the file's name, the longest first, cut at `-` and `_`. A Google
    /// service account is `vertex` when nothing else fits. The first that the gateway knows is it.
    ///
    /// ```
    /// let file = turnpike_credentials::parse("azure-openai_alice@example.com", br#"{"token":"k"}"#);
    /// let names: Vec<String> = file.ok().unwrap().provider_candidates().map(Into::into).collect();
    /// assert_eq!(names, ["azure-openai_alice@example.com", "azure-openai", "azure"]);
    /// ```
    pub fn provider_candidates(&self) -> impl Iterator<Item = &str> {
        let (whole, cut, google) = match &self.provider {
            Declared::Named(name) => (name.as_str(), false, false),
            Declared::Stem { stem, google } => (stem.as_str(), true, *google),
        };
        let beginnings = whole
            .rmatch_indices(['-', '_'])
            .filter(move |(at, _)| cut && *at > 0)
            .map(move |(at, _)| &whole[..at]);
        std::iter::once(whole)
            .chain(beginnings)
            .chain(google.then_some("vertex"))
    }
}

/// Reads a file. `stem` is its name without `.json`.
pub fn parse(stem: &str, bytes: &[u8]) -> Result<CredentialFile, FileError> {
    let document = Document::read(bytes)?;
    let top = document.fields();
    let attributes = top.object("attributes")?.unwrap_or_default();
    let nested = material::nested(&top);
    let material = material::read(&top, nested.as_ref())?;
    Ok(CredentialFile {
        provider: provider(stem, &top, &material)?,
        label: label(&top, &material)?,
        priority: priority(&top, &attributes)?,
        weight: weight(&top)?,
        disabled: top.flag("disabled")?.unwrap_or(false),
        prefix: top.checked("prefix", rules::word)?,
        proxy_url: top.checked("proxy_url", rules::proxy)?.map(Secret::new),
        headers: lists::headers(&top)?,
        websockets: websockets(&top, &attributes)?,
        excluded_models: lists::excluded_models(&top)?,
        model_aliases: lists::model_aliases(&top)?,
        project_id: project_id(&top, &material)?,
        location: top.checked("location", rules::location)?,
        account_id: account_id(&top, nested.as_ref())?,
        quota: quota(&top)?,
        note: note(&top, &attributes)?,
        pool: pool(&top, &attributes)?,
        material,
    })
}

fn provider(stem: &str, top: &Fields<'_>, material: &Material) -> Result<Declared, FileError> {
    let by_type = top.checked("type", rules::word)?;
    let named = top
        .checked("provider", rules::word)?
        .or_else(|| by_type.filter(|written| !material::is_kind(written)));
    Ok(match named {
        Some(name) => Declared::Named(name),
        None => Declared::Stem {
            stem: stem.to_owned(),
            google: matches!(material, Material::ServiceAccount(_)),
        },
    })
}

fn label(top: &Fields<'_>, material: &Material) -> Result<Option<String>, FileError> {
    let email = top.checked("email", rules::name)?;
    let of_account = || match material {
        Material::ServiceAccount(account) => Some(account.client_email().to_owned()),
        Material::Key(_) | Material::Token { .. } => None,
    };
    let label = top.checked("label", rules::name)?;
    Ok(label.or(email).or_else(of_account))
}

/// `priority` counts upwards from the best. `attributes.priority` counts the other way round, from
/// 0 for a credential that has none, and so is 1 less it: the two defaults rank alike.
fn priority(top: &Fields<'_>, attributes: &Fields<'_>) -> Result<i64, FileError> {
    let other_way_round = attributes.whole("priority")?.unwrap_or(0);
    let own = top.whole("priority")?;
    Ok(own.unwrap_or(1_i64.saturating_sub(other_way_round)))
}

/// As in configuration: two sources make one pool.
fn weight(top: &Fields<'_>) -> Result<u32, FileError> {
    match top.whole("weight")? {
        None => Ok(1),
        Some(weight @ 1..=1_000) => Ok(weight as u32),
        Some(_) => Err(top.wrong("weight", "expected a number from 1 to 1,000")),
    }
}

fn websockets(top: &Fields<'_>, attributes: &Fields<'_>) -> Result<bool, FileError> {
    let attribute = attributes.flag("websockets")?;
    Ok(top.flag("websockets")?.or(attribute).unwrap_or(false))
}

fn project_id(top: &Fields<'_>, material: &Material) -> Result<Option<String>, FileError> {
    let of_account = || match material {
        Material::ServiceAccount(account) => account.project_id().map(str::to_owned),
        Material::Key(_) | Material::Token { .. } => None,
    };
    Ok(top
        .checked("project_id", rules::project)?
        .or_else(of_account))
}

fn account_id(top: &Fields<'_>, nested: Option<&Fields<'_>>) -> Result<Option<String>, FileError> {
    let beside_token = match nested {
        Some(fields) => fields.checked("account_id", rules::account)?,
        None => None,
    };
    Ok(top.checked("account_id", rules::account)?.or(beside_token))
}

/// `used`, or what is missing of `remaining`.
fn quota(top: &Fields<'_>) -> Result<Option<FileQuota>, FileError> {
    let Some(quota) = top.object("quota")? else {
        return Ok(None);
    };
    let limit = quota.count("limit")?;
    let used = quota.count("used")?;
    let remaining = quota.count("remaining")?;
    let missing = || Some(limit?.saturating_sub(remaining?));
    Ok(Some(FileQuota {
        limit,
        used: used.or_else(missing).unwrap_or(0),
    }))
}

fn pool(top: &Fields<'_>, attributes: &Fields<'_>) -> Result<Option<String>, FileError> {
    let attribute = attributes.checked("pool", rules::word)?;
    Ok(top.checked("pool", rules::word)?.or(attribute))
}

fn note(top: &Fields<'_>, attributes: &Fields<'_>) -> Result<Option<String>, FileError> {
    let description = attributes.checked("description", rules::note)?;
    Ok(top.checked("note", rules::note)?.or(description))
}
