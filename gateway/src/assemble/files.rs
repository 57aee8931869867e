//! The credentials of the watched directory. What is wrong with one is told of that one and stands
//! in nobody else's way.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use turnpike_api::{Account, Scheme};
use turnpike_config::plan::{ModelPlan, ProxyChoice};
use turnpike_config::proxy_choice;
use turnpike_credentials::{CredentialFile, Entry, Material as Written};

use super::provider_kinds;
use super::providers::{Draft, Known, Material, Providers, offer};
use crate::upstream::catalogue::{Offer, Supplied, Supply};
use crate::upstream::roll::{Enrolled, Held};

/// Whose a file is.
enum Meant {
    Known(Box<Known>),
    /// Of a provider with `enabled: false`.
    SwitchedOff(String),
}

/// Files of the directory by their names, as each makes a credential.
pub type GoodFiles = HashMap<String, Arc<CredentialFile>>;

/// Those of the snapshot in force.
#[derive(Default)]
pub struct LastGood(Mutex<Arc<GoodFiles>>);

impl LastGood {
    /// The snapshot that was made of these is in force.
    pub fn set(&self, files: Arc<GoodFiles>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = files;
    }

    fn of(&self, name: &str) -> Option<Arc<CredentialFile>> {
        let files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        files.get(name).cloned()
    }
}

impl Providers<'_> {
    /// Adds what the files hold.
    pub(super) fn add_files<'e>(&mut self, entries: impl Iterator<Item = &'e Entry>) {
        for entry in entries {
            match &entry.state {
                Some(file) => self.add_file(entry, file),
                None => {
                    let known = self.guess(entry);
                    self.add_broken(entry, known.as_ref());
                }
            }
        }
    }

    /// Adds a file, or where it makes no credential what it was when it last did.
    fn add_file(&mut self, entry: &Entry, file: &Arc<CredentialFile>) {
        let Err((known, problem)) = self.try_file(entry, file) else {
            self.good_files.insert(entry.name.clone(), file.clone());
            return;
        };
        let with = |problem: String| Entry {
            name: entry.name.clone(),
            state: None,
            problem: Some(problem),
            warning: None,
            modified_ms: entry.modified_ms,
        };
        let last_good = self.ground.last_good.of(&entry.name);
        if let Some(last_good) = last_good.filter(|last_good| !Arc::ptr_eq(last_good, file)) {
            let entry = with(format!("{problem}; the version read before stays in use"));
            if self.try_file(&entry, &last_good).is_ok() {
                self.good_files.insert(entry.name, last_good);
                return;
            }
        }
        self.add_broken(&with(problem), known.as_deref());
    }

    fn try_file(
        &mut self,
        entry: &Entry,
        file: &Arc<CredentialFile>,
    ) -> Result<(), (Option<Box<Known>>, String)> {
        let told = |problem: String| format!("{}: {problem}", entry.name);
        match self.provider_of(file) {
            Ok(Meant::SwitchedOff(provider)) => {
                self.add_switched_off(entry, file, provider);
                Ok(())
            }
            Ok(Meant::Known(known)) => {
                let enrolled = self.enrol_file(entry, file, &known);
                enrolled.map_err(|problem| (Some(known), told(problem)))
            }
            Err(problem) => Err((None, told(problem))),
        }
    }

    /// The first of the names it may mean that is a provider's.
    fn provider_of(&mut self, file: &CredentialFile) -> Result<Meant, String> {
        let names: Vec<String> = file.provider_candidates().map(String::from).collect();
        for name in &names {
            if self.is_switched_off(name) {
                return Ok(Meant::SwitchedOff(name.clone()));
            }
            if let Some(known) = self.known(name) {
                return Ok(Meant::Known(Box::new(self.as_meant_for(file, known))));
            }
        }
        let name = names.first().map_or("", String::as_str);
        Err(no_such_provider(name))
    }

    fn is_switched_off(&self, provider: &str) -> bool {
        let mut disabled = self.plan.disabled_providers.iter();
        disabled.any(|name| name == provider)
    }

    /// A provider of the configuration, or one whose name says all there is to know.
    fn known(&mut self, name: &str) -> Option<Known> {
        if let Some(known) = self.known.get(name) {
            return Some(known.clone());
        }
        let has_address = |kind: &(&str, bool)| *kind == (name, true);
        if !provider_kinds().iter().any(has_address) {
            return None;
        }
        let vendor = self.vendor(name, name, None)?;
        let known = Known {
            offer: offer(&vendor, None, &[], &[]),
            vendor,
            kind: name.to_owned(),
            settings: Default::default(),
        };
        self.known.insert(name.to_owned(), known.clone());
        Some(known)
    }

    /// `codex_api_key` makes a provider of OpenAI's kind; ChatGPT's accounts are called elsewhere.
    fn as_meant_for(&mut self, file: &CredentialFile, known: Known) -> Known {
        let name = known.vendor.name.clone();
        let is_account = matches!(file.material, Written::Token { .. });
        if !is_account || known.settings.base_url.is_some() || *known.kind == *name {
            return known;
        }
        let is_kind = provider_kinds().iter().any(|(kind, _)| **kind == *name);
        match self.vendor(&name, &name, None).filter(|_| is_kind) {
            Some(vendor) => Known {
                vendor,
                kind: name.to_string(),
                ..known
            },
            None => known,
        }
    }

    fn enrol_file(
        &mut self,
        entry: &Entry,
        file: &Arc<CredentialFile>,
        known: &Known,
    ) -> Result<(), String> {
        let id = format!("{}/{}", known.vendor.name, entry.name);
        let twin = (twin(file), file.pool.clone());
        if let Some(other) = self.secrets.get(&twin)
            && !file.disabled
        {
            return Err(format!("holds the same secret as {other}; remove one"));
        }
        let settings = &known.settings;
        let proxy = match &file.proxy_url {
            Some(written) => {
                proxy_choice(written.expose()).map_err(|why| format!("proxy_url: {why}"))?
            }
            None => settings.proxy.clone(),
        };
        let headers = merged(&settings.headers, &file.headers);
        let offer = offered(file, known);
        let draft = draft(id, entry, file, known, &headers, &proxy, self);
        self.enrol(known, offer, draft, entry.problem.clone())?;
        if !file.disabled {
            self.secrets
                .insert(twin, format!("{}/{}", known.vendor.name, entry.name).into());
        }
        Ok(())
    }

    /// A file that is as good as any; its provider is not to be called.
    fn add_switched_off(&mut self, entry: &Entry, file: &CredentialFile, provider: String) {
        self.roll.push(Enrolled {
            id: format!("{provider}/{}", entry.name).into(),
            provider: provider.into(),
            kind: kind(file),
            label: file.label.clone(),
            file: Some(entry.name.clone()),
            held: Held::ProviderOff,
            problem: entry.problem.clone(),
            tenant: self.tenant_of(file.pool.as_deref()),
            pool: file.pool.clone(),
        });
    }

    /// A file that cannot be used, and whose provider's it would be.
    fn add_broken(&mut self, entry: &Entry, known: Option<&Known>) {
        let provider = known.map_or("".into(), |known| known.vendor.name.clone());
        self.roll.push(Enrolled {
            id: match known {
                Some(_) => format!("{provider}/{}", entry.name).into(),
                None => entry.name.as_str().into(),
            },
            provider,
            kind: "file",
            label: None,
            file: Some(entry.name.clone()),
            held: Held::Broken,
            problem: entry.problem.clone(),
            // Nobody knows what it would say.
            tenant: None,
            pool: None,
        });
        if let Some(known) = known.filter(|known| !self.is_tenants_alone(known)) {
            let broken = Supply {
                offer: known.offer.clone(),
                vendor: known.vendor.clone(),
                what: Supplied::Broken,
            };
            self.stock.add(None, broken);
        }
    }

    /// Whether all that is written of a provider's credentials has tags: the house knows nothing of it.
    fn is_tenants_alone(&self, known: &Known) -> bool {
        let mut providers = self.plan.providers.iter();
        let written = providers.find(|one| *one.name == *known.vendor.name);
        written.is_some_and(|written| {
            let mut credentials = written.credentials.iter();
            !written.credentials.is_empty() && credentials.all(|one| one.pool.is_some())
        })
    }

    /// Whose a file may be that never could be read: by the beginnings of its name.
    fn guess(&mut self, entry: &Entry) -> Option<Known> {
        let stem = entry.name.rsplit_once('.').map_or("", |(stem, _)| stem);
        let cuts = stem.rmatch_indices(['-', '_']).map(|(at, _)| &stem[..at]);
        let names: Vec<&str> = std::iter::once(stem).chain(cuts).collect();
        let is_on = |name: &&str| !self.plan.disabled_providers.iter().any(|off| off == name);
        let names: Vec<&str> = names.into_iter().take_while(is_on).collect();
        names.into_iter().find_map(|name| self.known(name))
    }
}

/// What is said of a credential for a provider that is none.
pub fn no_such_provider(name: &str) -> String {
    format!(
        "no provider is called `{name}`; write `providers.{name}` with a `kind` and a `base_url`, or name its `provider` in the file"
    )
}

/// What two files have in common that are one account: asked twice as often as the others, it would
/// cool in one of them only. A service account has a quota of its own in each project and place.
fn twin(file: &CredentialFile) -> blake3::Hash {
    match &file.material {
        Written::Key(secret) => blake3::hash(secret.expose().as_bytes()),
        Written::Token { access, .. } => blake3::hash(access.expose().as_bytes()),
        Written::ServiceAccount(account) => {
            let project = file.project_id.as_deref().unwrap_or_default();
            let location = file.location.as_deref().unwrap_or_default();
            blake3::hash(format!("{} {project} {location}", account.client_email()).as_bytes())
        }
    }
}

fn kind(file: &CredentialFile) -> &'static str {
    match &file.material {
        Written::Key(_) => "api_key",
        Written::Token { .. } => "oauth",
        Written::ServiceAccount(_) => "service_account",
    }
}

fn draft<'d>(
    id: String,
    entry: &Entry,
    file: &'d Arc<CredentialFile>,
    known: &'d Known,
    headers: &'d [(String, String)],
    proxy: &'d ProxyChoice,
    providers: &Providers<'_>,
) -> Draft<'d> {
    let mut project = file.project_id.clone();
    let (material, expires_at) = match &file.material {
        Written::Key(secret) => (Material::Secret(secret, Scheme::Key), None),
        Written::Token {
            access, expires_at, ..
        } => (Material::Secret(access, Scheme::Bearer), *expires_at),
        Written::ServiceAccount(account) => {
            project = project.or_else(|| account.project_id().map(String::from));
            let tokens = providers.ground.tokens.of(&id, file);
            (Material::Account(account, tokens), None)
        }
    };
    Draft {
        id,
        kind: kind(file),
        label: file.label.clone(),
        file: Some(entry.name.clone()),
        pool: file.pool.clone(),
        material,
        account: Account {
            project,
            location: file.location.clone(),
            id: file.account_id.clone(),
        },
        priority: file.priority,
        weight: file.weight,
        disabled: file.disabled,
        quota_limit: file.quota.and_then(|quota| quota.limit),
        caps: &[],
        used: file.quota.map(|quota| (quota.used, entry.modified_ms)),
        base_url: known.settings.base_url.as_ref(),
        headers,
        proxy,
        expires_at: expires_at.unwrap_or(u64::MAX),
    }
}

/// What a file offers: nearly always what its provider does.
fn offered(file: &CredentialFile, known: &Known) -> Arc<Offer> {
    if file.prefix.is_none() && file.excluded_models.is_empty() && file.model_aliases.is_empty() {
        return known.offer.clone();
    }
    let settings = &known.settings;
    let prefix = file.prefix.as_deref().or(settings.prefix.as_deref());
    let excluded = settings.excluded_models.iter().chain(&file.excluded_models);
    let excluded: Vec<String> = excluded.cloned().collect();
    offer(&known.vendor, prefix, &models(file, known), &excluded)
}

/// The provider's models, and the file's aliases beside them.
fn models(file: &CredentialFile, known: &Known) -> Vec<ModelPlan> {
    let plain = |name: &str| ModelPlan {
        name: name.to_owned(),
        alias: None,
        preview_of: None,
        fallback: Vec::new(),
    };
    let mut models = known.settings.models.to_vec();
    if models.is_empty() && !file.model_aliases.is_empty() {
        // Named models would take the place of the kind's own.
        let plugin = &known.vendor.plugin;
        let own = plugin.known_models().iter().chain(plugin.model_patterns());
        models.extend(own.map(|name| plain(name)));
    }
    models.extend(file.model_aliases.iter().map(|alias| ModelPlan {
        alias: Some(alias.alias.clone()),
        ..plain(&alias.name)
    }));
    models
}

/// The provider's headers and the file's, which win.
fn merged(providers: &[(String, String)], files: &[(String, String)]) -> Vec<(String, String)> {
    let is_files = |name: &str| files.iter().any(|(own, _)| own.eq_ignore_ascii_case(name));
    let kept = providers.iter().filter(|(name, _)| !is_files(name));
    kept.chain(files).cloned().collect()
}
