//! Providers and their credentials, as calls need them.

use std::collections::HashMap;
use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use turnpike_api::{Account, Provider, Scheme, Secret, Selector, find};
use turnpike_config::plan::{
    CredentialPlan, ModelPlan, Plan, ProviderPlan, ProxyChoice, Selection,
};
use turnpike_credentials::SELECTORS;
use turnpike_providers::PROVIDERS;
use url::Url;

use super::Ground;
use super::egress::Egress;
use crate::upstream::catalogue::{Offer, StandIns, Supplied, Supply};
use crate::upstream::credential::{Access, Credential, Quota, Source, Vendor};
use crate::upstream::roll::{Enrolled, Held};

/// What the providers of a configuration come to.
pub(super) struct Providers<'a> {
    plan: &'a Plan,
    ground: &'a Ground,
    egress: Egress<'a>,
    pub(super) supplies: Vec<Supply>,
    pub(super) roll: Vec<Enrolled>,
    pub(super) stand_ins: HashMap<String, StandIns>,
    pub(super) problems: Vec<String>,
}

/// A credential, wherever it is written.
struct Draft<'d> {
    id: String,
    secret: &'d Secret,
    scheme: Scheme,
    account: Account,
    priority: i64,
    weight: u32,
    quota_limit: Option<u64>,
    base_url: Option<&'d Url>,
    headers: &'d [(String, String)],
    proxy: &'d ProxyChoice,
    expires_at: u64,
}

impl<'a> Providers<'a> {
    pub(super) fn new(plan: &'a Plan, ground: &'a Ground) -> Self {
        let (egress, problem) = Egress::new(plan, ground);
        let mut providers = Self {
            plan,
            ground,
            egress,
            supplies: Vec::new(),
            roll: Vec::new(),
            stand_ins: HashMap::new(),
            problems: problem.into_iter().collect(),
        };
        for provider in &plan.providers {
            providers.add(provider);
        }
        providers
    }

    fn add(&mut self, provider: &ProviderPlan) {
        let Some(vendor) = self.vendor(provider) else {
            return;
        };
        let settings = &provider.settings;
        self.supplies.push(Supply {
            offer: offer(
                &vendor,
                settings.prefix.as_deref(),
                &settings.models,
                &settings.excluded_models,
            ),
            vendor: vendor.clone(),
            what: Supplied::Nothing,
        });
        self.stand_in(settings.prefix.as_deref(), &settings.models);
        for plan in &provider.credentials {
            self.configured(&vendor, provider, plan);
        }
    }

    fn vendor(&mut self, provider: &ProviderPlan) -> Option<Arc<Vendor>> {
        let plugin = match find(PROVIDERS, &provider.kind) {
            Ok(row) => (row.build)(&()),
            Err(unknown) => {
                self.problems
                    .push(format!("providers.{}.kind: {unknown}", provider.name));
                return None;
            }
        };
        let selector = self.selector(provider.selection.unwrap_or(self.plan.selection));
        Some(Arc::new(Vendor {
            name: provider.name.as_str().into(),
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
    fn configured(&mut self, vendor: &Arc<Vendor>, provider: &ProviderPlan, plan: &CredentialPlan) {
        let offer = offer(
            vendor,
            plan.prefix.as_deref(),
            &plan.models,
            &plan.excluded_models,
        );
        self.stand_in(plan.prefix.as_deref(), &plan.models);
        let draft = Draft {
            id: plan.id.clone(),
            secret: &plan.secret,
            scheme: Scheme::Key,
            account: Account::default(),
            priority: plan.priority,
            weight: plan.weight,
            quota_limit: plan.quota_limit,
            base_url: plan.base_url.as_ref(),
            headers: &plan.headers,
            proxy: &plan.proxy,
            expires_at: u64::MAX,
        };
        // Made also where it is switched off: a mistake in it should not wait to be found.
        match self.credential(vendor, &provider.kind, draft) {
            Err(problem) => self
                .problems
                .push(format!("credential {}: {problem}", plan.id)),
            Ok(credential) => {
                let label = plan.label.clone();
                self.enrol(offer, credential, plan.disabled, "api_key", label, None);
            }
        }
    }

    /// Puts a credential where requests and operators find it.
    fn enrol(
        &mut self,
        offer: Offer,
        credential: Credential,
        disabled: bool,
        kind: &'static str,
        label: Option<String>,
        problem: Option<String>,
    ) {
        let credential = Arc::new(credential);
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
            held,
            problem,
        });
        self.supplies.push(Supply {
            offer,
            vendor: credential.vendor.clone(),
            what,
        });
    }

    /// Remembers who may serve in place of whom.
    fn stand_in(&mut self, prefix: Option<&str>, models: &[ModelPlan]) {
        let mut add = |asked: String, change: &dyn Fn(&mut StandIns)| {
            change(self.stand_ins.entry(asked).or_default());
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

    fn credential(
        &mut self,
        vendor: &Arc<Vendor>,
        kind: &str,
        draft: Draft<'_>,
    ) -> Result<Credential, String> {
        let base_url = base_url(&draft, &*vendor.plugin)?;
        let headers = operator_headers(draft.headers)?;
        let endpoint = self.egress.endpoint(&base_url, draft.proxy)?;
        let access = Access::new(
            &*vendor.plugin,
            draft.secret,
            draft.scheme,
            &draft.account,
            &endpoint,
            &headers,
        );
        let access = access.ok_or("its key has characters that a header cannot hold")?;
        let id: Arc<str> = draft.id.into();
        Ok(Credential {
            standing: self.ground.board.standing(&id),
            metrics: self.ground.metrics.credential(&vendor.name, &id),
            id,
            vendor: vendor.clone(),
            endpoint,
            source: Source::Fixed(access),
            priority: draft.priority,
            weight: draft.weight,
            headers,
            expires_at: draft.expires_at,
            quota: Quota {
                limit: draft.quota_limit,
                schedule: self.plan.auth.quota.schedule(&vendor.name, kind).clone(),
                used: None,
            },
        })
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

fn offer(
    vendor: &Vendor,
    prefix: Option<&str>,
    models: &[ModelPlan],
    excluded: &[String],
) -> Offer {
    let models = models.iter();
    Offer {
        vendor: vendor.name.clone(),
        prefix: prefix.map(str::to_owned),
        models: models
            .map(|model| (model.name.clone(), model.alias.clone()))
            .collect(),
        excluded: excluded.to_vec(),
    }
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
