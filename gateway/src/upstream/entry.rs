//! A credential as operators are shown it, by the command line and by the management API.

use serde::Serialize;
use utoipa::ToSchema;

use super::roll::{Enrolled, Report, time};

/// A credential, never its secret.
#[derive(Serialize, ToSchema)]
pub struct CredentialEntry {
    /// The provider's name, a slash, and the credential's label, file or digest.
    pub id: String,
    pub provider: String,
    /// `api_key`, `oauth` or `service_account`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub label: Option<String>,
    /// The file it is written in; `null` = the configuration.
    pub file: Option<String>,
    /// Lower first. `null`, as the rest of what its use needs, for one that cannot be used.
    pub priority: Option<i64>,
    pub weight: Option<u32>,
    /// `active`, `cooling`, `exhausted`, `expired`, `disabled` or `error`.
    pub status: &'static str,
    pub status_message: String,
    pub next_retry_after: Option<String>,
    pub expires_at: Option<String>,
    /// Always `null`: this release refreshes no account.
    pub last_refresh: Option<String>,
    /// The tag by which tenants name it under `pools`; `null` = it serves those who name none.
    pub pool: Option<String>,
    /// The tenant that alone may use it; `null` = it is nobody's, or several may.
    pub tenant: Option<String>,
    pub quota: Option<QuotaEntry>,
}

/// Tokens, input and output, of the period that runs.
#[derive(Serialize, ToSchema)]
pub struct QuotaEntry {
    /// `null` = no limit.
    pub limit: Option<u64>,
    pub used: u64,
    pub remaining: Option<u64>,
    pub reset_at: Option<String>,
}

impl CredentialEntry {
    pub fn new(one: &Enrolled, now: u64) -> Self {
        let Report {
            status,
            message,
            back,
        } = one.report(now);
        let credential = one.credential();
        let quota = credential.map(|credential| {
            let spent = credential.standing.allowance.spent();
            let limit = credential.quota.limit;
            let end = credential.standing.allowance.running().end;
            QuotaEntry {
                limit,
                used: spent,
                remaining: limit.map(|limit| limit.saturating_sub(spent)),
                reset_at: (end < u64::MAX).then(|| time(end)),
            }
        });
        let expires = credential.map(|credential| credential.expires_at);
        Self {
            id: one.id.to_string(),
            provider: one.provider.to_string(),
            kind: one.kind,
            label: one.label.clone(),
            file: one.file.clone(),
            priority: credential.map(|credential| credential.priority),
            weight: credential.map(|credential| credential.weight),
            status: status.as_str(),
            status_message: message,
            next_retry_after: back.map(time),
            expires_at: expires.filter(|at| *at < u64::MAX).map(time),
            last_refresh: None,
            pool: one.pool.clone(),
            tenant: one.tenant.as_deref().map(str::to_owned),
            quota,
        }
    }
}
