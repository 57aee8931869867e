//! One credential: what it inherits, its id, and whether it stands twice.

use std::collections::{BTreeMap, HashMap};

use turnpike_api::Secret;

use crate::document::{Caps, CredentialQuota, ModelEntry, ProxyText, SecretText, Weight};
use crate::locate::Path;
use crate::plan::{CredentialPlan, SettingsPlan, is_loopback_host};

use super::{Context, headers, keys, limits, models, proxy, url};

/// What all credentials of a provider, or one entry of a list, have in common, as written.
pub(super) struct Settings<'a> {
    pub(super) base_url: Option<&'a str>,
    pub(super) prefix: Option<&'a str>,
    pub(super) models: &'a [ModelEntry],
    pub(super) excluded_models: &'a [String],
    pub(super) headers: &'a BTreeMap<String, SecretText>,
    pub(super) proxy_url: Option<&'a ProxyText>,
}

/// How much of the work is a credential's, as written.
pub(super) struct Part<'a> {
    pub(super) priority: i64,
    pub(super) weight: Weight,
    pub(super) disabled: bool,
    pub(super) quota: &'a CredentialQuota,
    pub(super) caps: &'a Caps,
    pub(super) pool: Option<&'a str>,
}

/// A credential, and the key it is written at.
pub(super) struct Draft {
    pub(super) at: Path,
    pub(super) plan: CredentialPlan,
}

impl Settings<'_> {
    pub(super) fn check(&self, at: &Path, context: &mut Context<'_>) -> SettingsPlan {
        let prefix = self.prefix;
        if prefix.is_some_and(|prefix| !is_word(prefix)) {
            let message = "expected letters, digits, `-`, `_` and `.` only, without the slash";
            context.report.at(&at.field("prefix"), message);
        }
        SettingsPlan {
            base_url: base_url(self.base_url, &at.field("base_url"), context),
            prefix: prefix.map(str::to_owned),
            models: models::models(self.models, &at.field("models"), context).into(),
            excluded_models: models::excluded(
                self.excluded_models,
                &at.field("excluded_models"),
                context,
            )
            .into(),
            headers: headers::headers(self.headers, &at.field("headers"), context),
            proxy: proxy::choice(self.proxy_url, &at.field("proxy_url"), context),
        }
    }
}

fn base_url(written: Option<&str>, key: &Path, context: &mut Context<'_>) -> Option<::url::Url> {
    let parsed = url::upstream_url(written?);
    match parsed {
        Ok(url) => {
            let host = url.host_str().unwrap_or_default();
            if url.scheme() == "http" && !is_loopback_host(host) {
                let message = format!("http to {host} sends keys and prompts unencrypted");
                context.warn(key, message);
            }
            Some(url)
        }
        Err(message) => {
            context.report.at(key, message);
            None
        }
    }
}

impl Draft {
    /// A credential with these settings; its id is given once all of its provider are known.
    pub(super) fn new(
        settings: SettingsPlan,
        secret: &SecretText,
        label: Option<&str>,
        at: &Path,
        context: &mut Context<'_>,
    ) -> Self {
        if let Err(message) = check_secret(&secret.0) {
            context.report.at(&at.field("api_key"), message);
        }
        if label.is_some_and(|label| !keys::is_name(label) || label.contains('/')) {
            let message = "expected a name of printable characters without `/`";
            context.report.at(&at.field("label"), message);
        }
        let plan = CredentialPlan {
            id: String::new(),
            secret: secret.0.clone(),
            label: label.map(str::to_owned),
            priority: 1,
            weight: 1,
            disabled: false,
            quota_limit: None,
            caps: Vec::new(),
            pool: None,
            base_url: settings.base_url,
            prefix: settings.prefix,
            models: settings.models,
            excluded_models: settings.excluded_models,
            headers: settings.headers,
            proxy: settings.proxy,
        };
        Self {
            at: at.clone(),
            plan,
        }
    }

    pub(super) fn with(mut self, part: &Part<'_>) -> Self {
        self.plan.priority = part.priority;
        self.plan.weight = part.weight.0;
        self.plan.disabled = part.disabled;
        self.plan.quota_limit = part.quota.limit;
        self.plan.caps = limits::caps(part.caps);
        self.plan.pool = part.pool.map(str::to_owned);
        self
    }
}

fn check_secret(secret: &Secret) -> Result<(), &'static str> {
    if !secret.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("a key must be of printable ASCII characters without blanks");
    }
    keys::refuse_placeholder(secret)
}

/// What may stand in a path and in an id.
pub(super) fn is_word(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !text.is_empty() && text.len() <= 100 && text.chars().all(plain)
}

/// Gives each credential of one provider its id, and reports those that are the same.
pub(super) fn identify(provider: &str, drafts: &mut [Draft], context: &mut Context<'_>) {
    let mut by_secret: BTreeMap<String, usize> = BTreeMap::new();
    for draft in drafts.iter().filter(|draft| draft.plan.label.is_none()) {
        *by_secret.entry(digest(&draft.plan, false)).or_default() += 1;
    }
    for draft in drafts.iter_mut() {
        let name = draft.plan.label.clone().unwrap_or_else(|| {
            // The same key under several prefixes or addresses: all of them are told apart, so
            // that the ids do not depend on which comes first.
            let secret = digest(&draft.plan, false);
            let shared = by_secret.get(&secret).is_some_and(|count| *count > 1);
            if shared {
                digest(&draft.plan, true)
            } else {
                secret
            }
        });
        draft.plan.id = format!("{provider}/{name}");
    }
    report_twins(drafts, context);
}

fn report_twins(drafts: &[Draft], context: &mut Context<'_>) {
    let mut by_place = HashMap::with_capacity(drafts.len());
    let mut by_id = HashMap::with_capacity(drafts.len());
    for draft in drafts {
        let plan = &draft.plan;
        let place = (plan.secret.expose(), &plan.base_url, &plan.prefix);
        let twin = by_place.insert(place, draft);
        let namesake = by_id.insert(plan.id.as_str(), draft);
        if let Some(twin) = twin {
            let other = context.report.whereabouts(&twin.at);
            let message = format!("the same key as that of {other}; remove one");
            context.report.at(&draft.at.field("api_key"), message);
        } else if let Some(namesake) = namesake {
            let other = context.report.whereabouts(&namesake.at);
            let message = format!("also the label of {other}; labels of one provider must differ");
            context.report.at(&draft.at.field("label"), message);
        }
    }
}

/// Eight hex digits that say which key it is without saying anything of the key.
fn digest(plan: &CredentialPlan, with_place: bool) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("turnpike 2025 credential id");
    hasher.update(plan.secret.expose().as_bytes());
    if with_place {
        let base_url = plan.base_url.as_ref().map_or("", |url| url.as_str());
        for part in [base_url, plan.prefix.as_deref().unwrap_or_default()] {
            hasher.update(b"\0").update(part.as_bytes());
        }
    }
    hasher.finalize().to_hex()[..8].to_owned()
}
