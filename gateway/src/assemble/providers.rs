//! Providers and their credentials, as calls need them.

use std::sync::Arc;

use hashbrown::HashMap;
use http::{HeaderName, HeaderValue};
use turnpike_api::{Account, Limit, Provider, Scheme, Secret, Selector, find};
use turnpike_config::plan::{
    CredentialPlan, ModelPlan, Plan, ProviderPlan, ProxyChoice, Selection, SettingsPlan,
};
use turnpike_credentials::{SELECTORS, ServiceAccount};
use turnpike_limits::Rules;
use turnpike_providers::PROVIDERS;
use url::Url;

use super::egress::Egress;
use super::files::GoodFiles;
use super::stock::{SaidBy, Stock};
use super::{Ground, limits};
use crate::upstream::catalogue::{Offer, StandIns, Supplied, Supply};
use crate::upstream::credential::{Access, Credential, Source, Vendor};
use crate::upstream::mint::{Mint, Minting, Tokens};
use crate::upstream::quota::Quota;
use crate::upstream::roll::{Enrolled, Held};
use crate::upstream::{Endpoint, Holder};

/// What the providers of a configuration come to.
pub(super) struct Providers<'a> {
    pub(super) plan: &'a Plan,
    pub(super) ground: &'a Ground,
    pub(super) egress: Egress,
    /// The limits of the configuration.
    pub(super) rules: Rules,
    /// By name: those of the configuration, and those that only credential files name.
    pub(super) known: HashMap<String, Known>,
    /// Whose each secret is, by its digest and the tag: tenants know nothing of each other's; those of what is switched off left out.
    pub(super) secrets: HashMap<(blake3::Hash, Option<String>), Arc<str>>,
    /// The tags that tenants name, and who alone names one.
    pub(super) pools: HashMap<Box<str>, Option<Arc<str>>>,
    pub(super) stock: Stock,
    pub(super) roll: Vec<Enrolled>,
    pub(super) good_files: GoodFiles,
    pub(super) problems: Vec<String>,
}

/// A provider that credentials may belong to.
#[derive(Clone)]
pub(super) struct Known {
    pub(super) vendor: Arc<Vendor>,
    pub(super) kind: String,
    /// What a credential inherits.
    pub(super) settings: SettingsPlan,
    /// Of those settings.
    pub(super) offer: Arc<Offer>,
}

/// A credential, wherever it is written.
pub(super) struct Draft<'d> {
    pub(super) id: String,
    pub(super) kind: &'static str,
    pub(super) label: Option<String>,
    pub(super) file: Option<String>,
    pub(super) pool: Option<String>,
    pub(super) material: Material<'d>,
    pub(super) account: Account,
    pub(super) priority: i64,
    pub(super) weight: u32,
    pub(super) disabled: bool,
    pub(super) quota_limit: Option<u64>,
    pub(super) caps: &'d [Arc<Limit>],
    /// What its file says was used, and when it was written.
    pub(super) used: Option<(u64, u64)>,
    pub(super) base_url: Option<&'d Url>,
    pub(super) headers: &'d [(String, String)],
    pub(super) proxy: &'d ProxyChoice,
    pub(super) expires_at: u64,
}

/// What a credential proves itself with.
pub(super) enum Material<'d> {
    Secret(&'d Secret, Scheme),
    Account(&'d ServiceAccount, Arc<Tokens>),
}

impl<'a> Providers<'a> {
    pub(super) fn new(plan: &'a Plan, ground: &'a Ground) -> Self {
        let (egress, problem) = Egress::new(plan, ground);
        let mut providers = Self {
            plan,
            ground,
            egress,
            rules: limits::rules(plan, None),
            pools: super::tenants::pools(plan),
            known: HashMap::new(),
            secrets: HashMap::new(),
            stock: Stock::default(),
            roll: Vec::new(),
            good_files: GoodFiles::new(),
            problems: problem.into_iter().collect(),
        };
        for provider in &plan.providers {
            providers.add(provider);
        }
        providers
    }

    fn add(&mut self, provider: &ProviderPlan) {
        let Some(vendor) = self.vendor(&provider.name, &provider.kind, provider.selection) else {
            return;
        };
        let settings = &provider.settings;
        let source = SaidBy::Provider(vendor.name.clone());
        self.stand_in(source, settings.prefix.as_deref(), &settings.models);
        let offer = offer(
            &vendor,
            settings.prefix.as_deref(),
            &settings.models,
            &settings.excluded_models,
        );
        if provider.credentials.is_empty() {
            // Its models are known, and refused with the reason that nobody serves them.
            let nothing = Supply {
                offer: offer.clone(),
                vendor: vendor.clone(),
                what: Supplied::Nothing,
            };
            self.stock.add(None, nothing);
        }
        let known = Known {
            vendor,
            kind: provider.kind.clone(),
            settings: settings.clone(),
            offer,
        };
        for plan in &provider.credentials {
            self.configured(&known, plan);
        }
        self.known.insert(provider.name.clone(), known);
    }

    pub(super) fn vendor(
        &mut self,
        name: &str,
        kind: &str,
        selection: Option<Selection>,
    ) -> Option<Arc<Vendor>> {
        let plugin = match find(PROVIDERS, kind) {
            Ok(row) => (row.build)(&()),
            Err(unknown) => {
                self.problems
                    .push(format!("providers.{name}.kind: {unknown}"));
                return None;
            }
        };
        let selector = self.selector(selection.unwrap_or(self.plan.selection));
        Some(Arc::new(Vendor {
            name: name.into(),
            kind: kind.into(),
            plugin,
            selector,
        }))
    }

    pub(super) fn selector(&mut self, selection: Selection) -> Arc<dyn Selector> {
        match find(SELECTORS, selection.as_str()) {
            Ok(row) => (row.build)(&()),
            Err(unknown) => {
                self.problems
                    .push(format!("auth.selection_strategy: {unknown}"));
                Arc::new(turnpike_credentials::RoundRobin)
            }
        }
    }

    /// A credential of the configuration.
    fn configured(&mut self, known: &Known, plan: &CredentialPlan) {
        let offer = self.offered(known, plan);
        let draft = Draft {
            id: plan.id.clone(),
            kind: "api_key",
            label: plan.label.clone(),
            file: None,
            pool: plan.pool.clone(),
            material: Material::Secret(&plan.secret, Scheme::Key),
            account: Account::default(),
            priority: plan.priority,
            weight: plan.weight,
            disabled: plan.disabled,
            quota_limit: plan.quota_limit,
            caps: &plan.caps,
            used: None,
            base_url: plan.base_url.as_ref(),
            headers: &plan.headers,
            proxy: &plan.proxy,
            expires_at: u64::MAX,
        };
        if !plan.disabled {
            let digest = blake3::hash(plan.secret.expose().as_bytes());
            let secret = (digest, plan.pool.clone());
            self.secrets.insert(secret, plan.id.as_str().into());
        }
        if let Err(problem) = self.enrol(known, offer, draft, None) {
            self.problems
                .push(format!("credential {}: {problem}", plan.id));
        }
    }

    /// What a credential of the configuration offers: nearly always what its provider does.
    fn offered(&mut self, known: &Known, plan: &CredentialPlan) -> Arc<Offer> {
        let settings = &known.settings;
        if plan.prefix == settings.prefix
            && Arc::ptr_eq(&plan.models, &settings.models)
            && Arc::ptr_eq(&plan.excluded_models, &settings.excluded_models)
        {
            return known.offer.clone();
        }
        let prefix = plan.prefix.as_deref();
        let source = SaidBy::Credentials(known.vendor.name.clone(), plan.pool.clone());
        self.stand_in(source, prefix, &plan.models);
        offer(&known.vendor, prefix, &plan.models, &plan.excluded_models)
    }

    /// Puts a credential where requests and operators find it. It is made also where it is switched
    /// off: a mistake in it should not wait to be found.
    pub(super) fn enrol(
        &mut self,
        known: &Known,
        offer: Arc<Offer>,
        draft: Draft<'_>,
        problem: Option<String>,
    ) -> Result<(), String> {
        let (kind, disabled) = (draft.kind, draft.disabled);
        let (label, file) = (draft.label.clone(), draft.file.clone());
        let pool = draft.pool.clone();
        let credential = Arc::new(self.credential(known, draft)?);
        let (what, held) = match disabled {
            true => (Supplied::Disabled, Held::Disabled),
            false => (
                Supplied::Credential(credential.clone()),
                Held::Usable(credential.clone()),
            ),
        };
        self.roll.push(Enrolled {
            id: credential.id.clone(),
            provider: credential.vendor.name.clone(),
            kind,
            label,
            file,
            held,
            problem: problem.or_else(|| self.nobodys(pool.as_deref())),
            tenant: self.tenant_of(pool.as_deref()),
            pool: pool.clone(),
        });
        let supply = Supply {
            offer,
            vendor: credential.vendor.clone(),
            what,
        };
        self.stock.add(pool, supply);
        Ok(())
    }

    /// The tenant that alone may use credentials with this tag.
    pub(super) fn tenant_of(&self, pool: Option<&str>) -> Option<Arc<str>> {
        self.pools.get(pool?)?.clone()
    }

    /// What there is to say of a tag that no tenant names.
    fn nobodys(&self, pool: Option<&str>) -> Option<String> {
        let pool = pool.filter(|pool| !self.pools.contains_key(*pool))?;
        Some(format!(
            "no tenant names the pool `{pool}`, so it serves nobody"
        ))
    }

    /// Remembers who may serve in place of whom.
    fn stand_in(&mut self, source: SaidBy, prefix: Option<&str>, models: &[ModelPlan]) {
        let stand_ins = self.stock.stand_ins(source);
        let mut add = |asked: String, change: &dyn Fn(&mut StandIns)| {
            change(stand_ins.entry(asked).or_default());
        };
        let prefixed = |name: &str| prefix.map(|prefix| format!("{prefix}/{name}"));
        let push = |names: &mut Vec<String>, name: &str| {
            if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        };
        for model in models {
            let shown = model.shown();
            let names = prefixed(shown).into_iter().chain([shown.to_owned()]);
            for name in names.filter(|_| !model.fallback.is_empty()) {
                add(name, &|stand_ins| {
                    let fallbacks = model.fallback.iter();
                    fallbacks.for_each(|name| push(&mut stand_ins.fallbacks, name));
                });
            }
            if let Some(asked) = &model.preview_of {
                add(asked.clone(), &|stand_ins| {
                    push(&mut stand_ins.previews, shown);
                });
            }
        }
    }

    fn credential(&mut self, known: &Known, draft: Draft<'_>) -> Result<Credential, String> {
        let headers = operator_headers(draft.headers)?;
        let holder = holder(&draft);
        let (vendor, endpoint, source) = match draft.material {
            Material::Secret(secret, scheme) => {
                let base_url = base_url(&draft, &*known.vendor.plugin)?;
                let endpoint = self.egress.endpoint(&base_url, draft.proxy)?;
                let access = Access::new(
                    &*known.vendor.plugin,
                    secret,
                    scheme,
                    &draft.account,
                    &endpoint,
                    &headers,
                );
                let access = access.ok_or("its key has characters that a header cannot hold")?;
                (known.vendor.clone(), endpoint, Source::Fixed(access))
            }
            Material::Account(account, ref tokens) => {
                self.minted(known, &draft, account, tokens.clone(), &headers)?
            }
        };
        let id: Arc<str> = draft.id.into();
        let schedules = &self.plan.auth.quota;
        let mut quota = Quota {
            limit: draft.quota_limit,
            schedule: schedules.schedule(&vendor.name, &known.kind).clone(),
            used: draft.used,
            shared: None,
        };
        if self.plan.state.redis.is_some() {
            quota.shared = limits::quota_of_all(&id, &quota, &self.ground.limits);
        }
        Ok(Credential {
            standing: self.ground.board.standing(&id, holder),
            metrics: self.ground.metrics.credential(&vendor.name, &id),
            caps: limits::of_credential(&self.rules, &id, draft.caps),
            id,
            endpoint,
            source,
            priority: draft.priority,
            weight: draft.weight,
            headers,
            expires_at: draft.expires_at,
            quota,
            vendor,
        })
    }

    /// What calls for a service account's project, with tokens that it asks for.
    fn minted(
        &mut self,
        known: &Known,
        draft: &Draft<'_>,
        account: &ServiceAccount,
        tokens: Arc<Tokens>,
        headers: &[(HeaderName, HeaderValue)],
    ) -> Result<(Arc<Vendor>, Endpoint, Source), String> {
        let base_url = draft.base_url.map(Url::as_str);
        let base_url = base_url.map(|url| url.trim_end_matches('/'));
        let of_project = known.vendor.plugin.of_project(&draft.account, base_url);
        let (plugin, base_url) = of_project.ok_or_else(|| {
            let kind = &known.kind;
            format!("a service account needs a provider that serves projects and a `project_id` it can call; `{kind}` is none, or the project's or location's name is not one")
        })?;
        let base_url = Url::parse(&base_url).map_err(|error| format!("{base_url}: {error}"))?;
        let endpoint = self.egress.endpoint(&base_url, draft.proxy)?;
        let at = self.egress.endpoint(account.token_uri(), draft.proxy)?;
        let vendor = Arc::new(Vendor {
            name: known.vendor.name.clone(),
            kind: known.vendor.kind.clone(),
            plugin: plugin.clone(),
            selector: known.vendor.selector.clone(),
        });
        let minting = Minting {
            provider: vendor.name.clone(),
            id: draft.id.as_str().into(),
            account: account.clone(),
            at,
            plugin,
            calls: endpoint.clone(),
            headers: headers.to_vec(),
        };
        let mint = Box::new(Mint::new(minting, tokens));
        Ok((vendor, endpoint, Source::Minted(mint)))
    }
}

fn holder(draft: &Draft<'_>) -> Holder {
    let Account {
        project,
        location,
        id,
    } = &draft.account;
    match draft.material {
        Material::Secret(secret, Scheme::Key) => Holder::of_key(secret.expose().as_bytes()),
        Material::Secret(secret, Scheme::Bearer) => {
            let name = id.as_ref().or(draft.label.as_ref());
            Holder::of_account([name.map(String::as_str)], secret.expose().as_bytes())
        }
        Material::Account(account, _) => {
            let names = [
                Some(account.client_email()),
                project.as_deref(),
                location.as_deref(),
            ];
            let (name, public) = account.key();
            let key = [name.unwrap_or_default().as_bytes(), public].concat();
            Holder::of_account(names, &key)
        }
    }
}

fn base_url(draft: &Draft<'_>, plugin: &dyn Provider) -> Result<Url, &'static str> {
    match draft.base_url {
        Some(url) => Ok(url.clone()),
        None => plugin
            .default_base_url()
            .and_then(|url| Url::parse(url).ok())
            .ok_or("its provider's kind has no address of its own; set `base_url`"),
    }
}

pub(super) fn offer(
    vendor: &Vendor,
    prefix: Option<&str>,
    models: &[ModelPlan],
    excluded: &[String],
) -> Arc<Offer> {
    let models = models.iter();
    Arc::new(Offer {
        vendor: vendor.name.clone(),
        prefix: prefix.map(str::to_owned),
        models: models
            .map(|model| (model.name.clone(), model.alias.clone()))
            .collect(),
        excluded: excluded.to_vec(),
    })
}

fn operator_headers(
    headers: &[(String, String)],
) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    headers
        .iter()
        .map(|(name, value)| {
            let header = HeaderName::try_from(name.as_str())
                .map_err(|_| format!("`{name}` is no header's name"))?;
            let value = HeaderValue::try_from(value.as_str()).map_err(|_| {
                format!("the value of header `{name}` has characters that a header cannot hold")
            })?;
            Ok((header, value))
        })
        .collect()
}
