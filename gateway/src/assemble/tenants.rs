//! Plans of tenants to tenants, and those of no tenant. What two of them have in common, they share.

use std::sync::Arc;

use hashbrown::HashMap;
use turnpike_access::AUTHORIZERS;
use turnpike_api::Authorizer;
use turnpike_config::plan::{Plan, RemotePlan, TenantPlan};
use url::Url;

use super::stock::Shelves;
use super::{Ground, access, limits};
use crate::authorization::AuthorizationApi;
use crate::observe::metrics::TenantMetrics;
use crate::sso::{Logins, Sso, WayOut};
use crate::tenant::{Acting, Place, Shelf, Site, Tenant, Tenants};

type Authorizers = Arc<[Arc<dyn Authorizer>]>;

/// How what is outside is called, and what is known of it.
type Reach<'r> = (&'r Arc<WayOut>, &'r Ground);

/// The tags that tenants name, and who alone names one.
pub(super) fn pools(plan: &Plan) -> HashMap<Box<str>, Option<Arc<str>>> {
    let mut pools: HashMap<Box<str>, Option<Arc<str>>> = HashMap::new();
    for tenant in &plan.tenants {
        let name: Arc<str> = tenant.name.as_str().into();
        for pool in &tenant.pools {
            let known = pools.entry(pool.as_str().into());
            let named_before = matches!(known, hashbrown::hash_map::Entry::Occupied(_));
            let only = known.or_default();
            *only = (!named_before).then(|| name.clone());
        }
    }
    pools
}

/// `logins` is where people log in somewhere.
pub(super) fn tenants(
    plan: &Plan,
    shelves: Shelves,
    logins: Option<&Logins<'_>>,
    reach: Reach<'_>,
) -> Tenants {
    let shelves = Arc::new(shelves);
    let mut by_pools: HashMap<Vec<String>, Shelf> = HashMap::new();
    let mut shelf = |pools: &[String]| {
        let known = by_pools.entry(pools.to_vec());
        known.or_insert_with(|| shelves.shelf(pools)).clone()
    };
    let house = Arc::new(house(plan, shelf(&[]), logins, reach));
    // Everything that is configured for everybody is there from the start.
    house.catalogue();
    let site = site(&plan.server.public_url, None);
    let mut tenants = Tenants {
        house,
        site,
        by_name: HashMap::new(),
        by_host: HashMap::new(),
        by_domain: HashMap::new(),
        by_issuer: issuers(plan),
        pools: pools(plan),
        acting: Acting::default(),
    };
    for written in &plan.tenants {
        let shelf = shelf(&written.pools);
        let metrics = reach.1.metrics.tenant(Some(&written.name));
        let api = match written.remote == plan.remote {
            true => tenants.house.api.clone(),
            false => api(written.remote.as_ref(), reach),
        };
        let tenant = tenant(
            plan,
            written,
            (&tenants.house, shelf, metrics),
            (logins, api),
        );
        let tenant = Arc::new(tenant);
        for host in &written.hosts {
            let place = Place {
                tenant: tenant.clone(),
                site: self::site(&plan.server.public_url, Some(host)),
            };
            tenants.by_host.insert(host.as_str().into(), place.into());
        }
        for domain in &written.email_domains {
            let domain = domain.as_str().into();
            tenants.by_domain.insert(domain, tenant.clone());
        }
        tenants.by_name.insert(written.name.as_str().into(), tenant);
    }
    tenants
}

fn house(plan: &Plan, shelf: Shelf, logins: Option<&Logins<'_>>, reach: Reach<'_>) -> Tenant {
    let roles = access::roles(&plan.roles, &plan.role_bindings);
    let sso = plan.sso.as_ref().zip(logins);
    Tenant {
        name: None,
        authorizers: authorizers(roles.clone(), plan.remote.is_some()),
        roles,
        bound: access::bound(&plan.roles),
        has_own_roles: false,
        rules: limits::rules(plan, None),
        sso: sso.map(|(sso, logins)| Arc::new(Sso::new(sso, logins.providers(sso), logins))),
        api: api(plan.remote.as_ref(), reach),
        has_own_providers: false,
        has_domains: false,
        pools: Box::default(),
        shelf,
        prompts: plan.prompts.enabled.then_some(plan.prompts.max),
        home: None,
        metrics: reach.1.metrics.tenant(None),
    }
}

fn tenant(
    plan: &Plan,
    written: &TenantPlan,
    (house, shelf, metrics): (&Tenant, Shelf, TenantMetrics),
    (logins, api): (Option<&Logins<'_>>, Option<Arc<AuthorizationApi>>),
) -> Tenant {
    let own = written.access.as_ref();
    let roles = own.map(|own| access::roles(&own.roles, &own.role_bindings));
    let authorizers = match &roles {
        Some(own) => authorizers(own.clone(), api.is_some()),
        None if api.is_some() == house.api.is_some() => house.authorizers.clone(),
        None => authorizers(house.roles.clone(), api.is_some()),
    };
    let sso = match (&written.sso, logins) {
        (Some(own), Some(logins)) => {
            let providers = match (own.has_own_providers, &house.sso) {
                // What is known of a provider is known for all who share it.
                (false, Some(sso)) => sso.providers.clone(),
                _ => logins.providers(&own.sso),
            };
            Some(Arc::new(Sso::new(&own.sso, providers, logins)))
        }
        _ => house.sso.clone(),
    };
    Tenant {
        name: Some(written.name.as_str().into()),
        authorizers,
        bound: match own {
            Some(own) => access::bound(&own.roles),
            None => house.bound.clone(),
        },
        has_own_roles: roles.is_some(),
        roles: roles.unwrap_or_else(|| house.roles.clone()),
        rules: limits::rules(plan, Some(written)),
        sso,
        api,
        has_own_providers: written
            .sso
            .as_ref()
            .is_some_and(|own| own.has_own_providers),
        has_domains: !written.email_domains.is_empty(),
        pools: written.pools.as_slice().into(),
        shelf,
        prompts: written
            .prompts
            .unwrap_or(plan.prompts.enabled)
            .then_some(plan.prompts.max),
        home: written
            .hosts
            .first()
            .map(|host| site(&plan.server.public_url, Some(host))),
        metrics,
    }
}

/// Who is asked about callers without a login.
fn api(plan: Option<&RemotePlan>, (outside, ground): Reach<'_>) -> Option<Arc<AuthorizationApi>> {
    plan.map(|plan| Arc::new(AuthorizationApi::new(plan, outside, ground)))
}

fn authorizers(roles: Option<Arc<turnpike_access::RoleTable>>, asks: bool) -> Authorizers {
    let access = turnpike_access::Settings { roles, asks };
    let built = AUTHORIZERS.iter().map(|row| (row.build)(&access));
    built.collect()
}

/// Whether people log in somewhere.
pub(super) fn have_logins(plan: &Plan) -> bool {
    plan.sso.is_some() || plan.tenants.iter().any(|tenant| tenant.sso.is_some())
}

/// What is to be registered with identity providers, and with whose.
pub fn redirect_uris(plan: &Plan) -> Vec<(String, String)> {
    let of = |host: Option<&str>| site(&plan.server.public_url, host).redirect_uri;
    let house = plan.sso.iter().map(|_| (String::new(), of(None)));
    let logs_in = |tenant: &&TenantPlan| tenant.sso.is_some() || plan.sso.is_some();
    let tenants = plan.tenants.iter().filter(logs_in).flat_map(|tenant| {
        let whose = format!(" of the tenant {}", tenant.name);
        let hosts = tenant.hosts.iter();
        hosts.map(move |host| (whose.clone(), of(Some(host))))
    });
    house.chain(tenants).collect()
}

fn issuers(plan: &Plan) -> HashMap<Box<str>, Box<str>> {
    let issuers = plan.jwt_issuers.iter();
    let issuers = issuers.filter_map(|issuer| {
        let tenant = issuer.tenant.as_deref()?;
        Some((issuer.issuer.as_str().into(), tenant.into()))
    });
    issuers.collect()
}

/// A tenant's host is reached as the gateway is, but for its name.
fn site(public_url: &Url, host: Option<&str>) -> Site {
    let mut url = public_url.clone();
    // A host that is written was read as one.
    let _ = host.map(|host| url.set_host(Some(host)));
    Site::below(url.as_str().trim_end_matches('/').to_owned())
}
