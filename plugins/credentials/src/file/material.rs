//! Which of a file's texts is the secret.

use crate::ServiceAccount;

use super::document::Fields;
use super::{FileError, Material, expiry};

/// Values of `type` that say what the secret is, not whose.
const KEY_KINDS: [&str; 3] = ["api_key", "apikey", "key"];
const TOKEN_KINDS: [&str; 5] = ["oauth", "oauth2", "token", "bearer", "authorized_user"];
const ACCOUNT_KIND: &str = "service_account";

/// Where a key stands.
pub(super) const KEYS: [&str; 3] = ["token", "api_key", "key"];

pub(super) fn is_kind(written: &str) -> bool {
    let kind = canonical(written);
    kind == ACCOUNT_KIND
        || KEY_KINDS.contains(&kind.as_str())
        || TOKEN_KINDS.contains(&kind.as_str())
}

fn canonical(written: &str) -> String {
    written.to_ascii_lowercase().replace('-', "_")
}

/// The object within which some tools keep their tokens.
pub(super) fn nested<'a>(top: &Fields<'a>) -> Option<Fields<'a>> {
    ["tokens", "token"]
        .into_iter()
        .filter_map(|key| top.object_if(key))
        .find(|fields| fields.value("access_token").is_some())
}

pub(super) fn read(top: &Fields<'_>, nested: Option<&Fields<'_>>) -> Result<Material, FileError> {
    let kind = top.text("type")?.map(canonical).unwrap_or_default();
    if let Some(account) = service_account(top, &kind)? {
        return Ok(Material::ServiceAccount(Box::new(account)));
    }
    if KEY_KINDS.contains(&kind.as_str()) {
        return key(top)?.ok_or(FileError::NoSecret);
    }
    if top.has("access_token") {
        return token(top, "access_token", top);
    }
    if let Some(fields) = nested {
        return token(fields, "access_token", top);
    }
    if TOKEN_KINDS.contains(&kind.as_str()) && top.has("token") {
        return token(top, "token", top);
    }
    match key(top)? {
        Some(key) => Ok(key),
        None => Err(empty_secret(top)?),
    }
}

fn service_account(top: &Fields<'_>, kind: &str) -> Result<Option<ServiceAccount>, FileError> {
    if let Some(fields) = top.object("service_account")? {
        return ServiceAccount::read(&fields).map(Some);
    }
    let raw = top.has("client_email") && top.has("private_key");
    match raw || kind == ACCOUNT_KIND {
        true => ServiceAccount::read(top).map(Some),
        false => Ok(None),
    }
}

fn key(top: &Fields<'_>) -> Result<Option<Material>, FileError> {
    match KEYS.into_iter().find(|key| top.has(key)) {
        Some(found) => Ok(top.secret(found)?.map(Material::Key)),
        None => Ok(None),
    }
}

/// The token at `key` of `fields`; when it ends may also stand at the `top`.
fn token(fields: &Fields<'_>, key: &str, top: &Fields<'_>) -> Result<Material, FileError> {
    let access = fields.secret(key)?.ok_or(FileError::NoSecret)?;
    fields.text("token_type")?;
    let refresh = match fields.has("refresh_token") {
        true => fields.secret("refresh_token")?,
        false => None,
    };
    let expires_at = match expiry::expires_at(fields)? {
        Some(found) => Some(found),
        None => expiry::expires_at(top)?,
    };
    Ok(Material::Token {
        access,
        refresh,
        expires_at,
    })
}

/// Nothing was found: because it is empty, or because there is none.
fn empty_secret(top: &Fields<'_>) -> Result<FileError, FileError> {
    for key in ["access_token"].into_iter().chain(KEYS) {
        top.secret(key)?;
    }
    Ok(FileError::NoSecret)
}
