//! The section `auth`: the directory of credential files, quotas, cooldowns.

use std::collections::BTreeMap;
use std::path::{Path as FilePath, PathBuf};

use crate::document::{Cooldown, Document, Encryption, Quota};
use crate::locate::Path;
use crate::plan::{AuthPlan, CooldownPlan, EncryptionPlan, ProviderPlan, QuotaPlan};
use crate::schedule::{Schedule, find_zone};

use super::Context;
use super::secret_key::secret_key;

const DIR: &str = "auths";

/// Of providers that no schedule is written for.
const DEFAULT_SCHEDULE: &str = "monthly";

pub(super) fn auth(
    document: &Document,
    providers: &[ProviderPlan],
    context: &mut Context<'_>,
) -> Option<AuthPlan> {
    let section = Path::default().field("auth");
    let written = &document.auth;
    let affinity = &written.session_affinity;
    let quota = quota(&written.quota, &section.field("quota"), context)?;
    warn_of_strangers(&quota, providers, &section.field("quota"), context);
    Some(AuthPlan {
        dir: dir(document, context),
        require_private_files: written.require_private_files,
        affinity: affinity.enabled.then_some(affinity.ttl.0),
        cooldown: cooldown(&written.cooldown, &section.field("cooldown"), context),
        quota,
        encryption: encryption(&written.encryption, &section.field("encryption"), context),
    })
}

fn dir(document: &Document, context: &mut Context<'_>) -> PathBuf {
    let key = Path::default().field("auth").field("dir");
    let alias = Path::default().field("auth_dir");
    let written = context.either(
        (&key, document.auth.dir.as_deref()),
        (&alias, document.auth_dir.as_deref()),
    );
    let (key, written) = written.unwrap_or((key, DIR));
    match directory(written, context) {
        Ok(dir) => dir,
        Err(message) => {
            context.report.at(&key, message);
            PathBuf::new()
        }
    }
}

fn directory(written: &str, context: &Context<'_>) -> Result<PathBuf, String> {
    let dir = match written.strip_prefix('~') {
        None if written.is_empty() => {
            return Err("empty; write a path or leave the key out".into());
        }
        None => context.base_dir.join(written),
        Some(rest) if rest.is_empty() || rest.starts_with('/') => {
            let home = context.environment.first(&["HOME"]);
            let (_, home) = home.ok_or("`~` stands for HOME, which is not set; write the path")?;
            FilePath::new(home).join(rest.trim_start_matches('/'))
        }
        Some(_) => return Err("only `~` and `~/…` are known, for one's own home directory".into()),
    };
    match dir.is_file() {
        true => Err(format!("{} is a file; name a directory", dir.display())),
        false => Ok(dir),
    }
}

fn encryption(written: &Encryption, section: &Path, context: &mut Context<'_>) -> EncryptionPlan {
    let (first, others) = (section.field("key"), section.field("previous_keys"));
    let mut keys = Vec::new();
    if let Some(key) = &written.key.0 {
        keys.extend(secret_key(key, &first, context));
    }
    for (index, key) in written.previous_keys.iter().enumerate() {
        let at = others.item(index);
        let key = secret_key(&key.0, &at, context);
        if key.as_ref().is_some_and(|key| keys.contains(key)) {
            context
                .report
                .at(&at, "the same key as one before; remove one");
        }
        keys.extend(key);
    }
    if written.enabled && written.key.0.is_none() && !context.report.is_broken(&first) {
        let message = "`enabled` needs a key of 32 bytes, as `${NAME}` or `file:path`; \
                       `openssl rand -base64 32` makes one";
        context.report.at(&first, message);
    }
    EncryptionPlan {
        enabled: written.enabled,
        keys,
    }
}

fn cooldown(written: &Cooldown, section: &Path, context: &mut Context<'_>) -> CooldownPlan {
    if written.base > written.max && !context.report.is_broken(&section.field("max")) {
        let message = format!("{} is more than `max`, {}", written.base, written.max);
        context.report.at(&section.field("base"), message);
    }
    CooldownPlan {
        base: written.base.0,
        max: written.max.0,
        max_hint: written.max_hint.0,
        transient: written.transient.0,
        auth: written.auth.0,
        not_found: written.not_found.0,
        probe_interval: written.probe_interval.0,
    }
}

fn quota(written: &Quota, section: &Path, context: &mut Context<'_>) -> Option<QuotaPlan> {
    let zone = match find_zone(&written.zone) {
        Ok(_) => &written.zone,
        Err(message) => {
            context.report.at(&section.field("zone"), message);
            // The schedules are looked at all the same.
            "UTC"
        }
    };
    let mut schedules = BTreeMap::new();
    for (name, text) in &written.reset_schedule.0 {
        match Schedule::parse(text, zone) {
            Ok(schedule) => {
                schedules.insert(name.clone(), schedule);
            }
            Err(message) => {
                let key = section.field("reset_schedule").entry(name);
                context.report.at(&key, message);
            }
        }
    }
    Some(QuotaPlan {
        zone: zone.to_owned(),
        schedules,
        default: Schedule::parse(DEFAULT_SCHEDULE, zone).ok()?,
    })
}

/// A slip in a provider's name would leave it the default schedule, without a word.
fn warn_of_strangers(
    quota: &QuotaPlan,
    providers: &[ProviderPlan],
    section: &Path,
    context: &mut Context<'_>,
) {
    for name in quota.schedules.keys() {
        let key = section.field("reset_schedule").entry(name);
        let known = context.kinds.default_base_url(name).is_some()
            || providers.iter().any(|provider| provider.name == *name)
            || context
                .report
                .is_written(&Path::default().field("providers").entry(name));
        if !known && context.report.is_written(&key) {
            let message = "no provider here and no kind is called so; it counts for credential files \
                           of that provider only";
            context.warn(&key, message);
        }
    }
}
