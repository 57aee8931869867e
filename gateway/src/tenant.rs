//! Tenants: callers who have nothing to do with those of other tenants. What a request reads of its
//! caller's tenant, and how the tenant is found.

use std::sync::{Arc, LazyLock};

use hashbrown::HashMap;
use http::HeaderValue;
use http::header::HOST;
use pingora::http::RequestHeader;
use quick_cache::sync::Cache;
use turnpike_access::RoleTable;
use turnpike_api::{Attributes, Authorizer, Identity, Presented};
use turnpike_identity::TokenBook;
use turnpike_identity::agent_tokens::{Binding, id_of};
use turnpike_identity::jwt::unproven_issuer;
use turnpike_limits::Rules;

use crate::authorization::AuthorizationApi;
use crate::observe::metrics::TenantMetrics;
use crate::sso::Sso;
use crate::upstream::Catalogue;

/// As many identities are kept that act for the tenant of a host or an address.
const ACTING: usize = 10_000;

/// The models and credentials of all tenants that name the same pools. Made when the first of their
/// calls comes: a gateway of a thousand tenants need not make a thousand of them to start.
pub type Shelf = Arc<LazyLock<Catalogue, Box<dyn FnOnce() -> Catalogue + Send>>>;

/// A tenant, or those of none.
pub struct Tenant {
    /// `None` = the house: those of no tenant.
    pub name: Option<Arc<str>>,
    /// All are asked.
    pub authorizers: Arc<[Arc<dyn Authorizer>]>,
    /// The roles, and who has them; `None` = there are none.
    pub roles: Option<Arc<RoleTable>>,
    /// Roles that are good from some places only.
    pub bound: Arc<[(Box<str>, Binding)]>,
    /// Its roles are not those of the top level.
    pub has_own_roles: bool,
    /// The limits of its callers.
    pub rules: Rules,
    /// How its people log in; `None` = they do not.
    pub sso: Option<Arc<Sso>>,
    /// Who is asked about its callers with signed tokens; `None` = nobody.
    pub api: Option<Arc<AuthorizationApi>>,
    /// Whoever logs in through one of its providers is of this tenant.
    pub has_own_providers: bool,
    /// Its people's addresses are of some domains. Somebody with another one is not of it for the
    /// host alone.
    pub has_domains: bool,
    /// The tags of the credentials that serve it; empty = those without a tag.
    pub pools: Box<[String]>,
    pub shelf: Shelf,
    /// As many bytes of what its callers say to models are on record; `None` = nothing.
    pub prompts: Option<usize>,
    /// At its first host.
    pub home: Option<Site>,
    pub metrics: TenantMetrics,
}

/// A host of a tenant.
pub struct Place {
    pub tenant: Arc<Tenant>,
    pub site: Site,
}

/// Where browsers and programs find us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// What clients set as their base URL, without a slash at its end.
    pub public_url: String,
    /// Where identity providers send browsers back to.
    pub redirect_uri: String,
}

/// Every tenant, and how each is found.
pub struct Tenants {
    pub house: Arc<Tenant>,
    /// At no tenant's host.
    pub site: Site,
    pub by_name: HashMap<Box<str>, Arc<Tenant>>,
    /// As DNS has them, in lower case.
    pub by_host: HashMap<Box<str>, Arc<Place>>,
    /// In lower case.
    pub by_domain: HashMap<Box<str>, Arc<Tenant>>,
    /// Whose the signed tokens of an issuer are.
    pub by_issuer: HashMap<Box<str>, Box<str>>,
    /// The tags of credentials that are named, and by whom alone.
    pub pools: HashMap<Box<str>, Option<Arc<str>>>,
    pub acting: Acting,
}

/// Identities that act for a tenant which their credential does not name, or with what the authorization
/// API said of them, by theirs and the tenant's addresses in memory: both are held here, and so no other
/// has the same.
pub struct Acting(Cache<(usize, usize), Arc<ActingFor>>);

struct ActingFor {
    _of: Arc<Identity>,
    identity: Arc<Identity>,
    /// In milliseconds since 1970; `u64::MAX` = for good.
    until: u64,
}

/// How it is known whose somebody is, before the authorization API is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// By the credential, the provider, or the address: there is nothing to say against it.
    Known,
    /// By the host, or not at all.
    Assumed,
    /// The host is that of a tenant whose people have other addresses: only the authorization API
    /// can say that they are of it.
    Outside,
}

/// Whose a known caller is.
pub enum Settled<'t> {
    /// As whom they act, and for whom.
    As(Arc<Identity>, &'t Arc<Tenant>),
    /// The authorization API has a say.
    ToAsk(ToAsk<'t>),
}

/// A caller of whom the authorization API has to be asked.
pub struct ToAsk<'t> {
    pub identity: Arc<Identity>,
    /// Whose they are, unless it says otherwise.
    pub tenant: &'t Arc<Tenant>,
    pub whose: Whose,
    pub api: &'t AuthorizationApi,
}

/// What somebody is told who is not of this host's tenant. Whose they are is not said.
pub const NOT_HERE: &str = "You cannot sign in here: ask your platform team for your address";

impl Default for Acting {
    fn default() -> Self {
        Self(Cache::new(ACTING))
    }
}

impl Site {
    /// Below this URL, without a slash at its end.
    pub fn below(public_url: String) -> Self {
        Self {
            redirect_uri: format!("{public_url}/auth/callback"),
            public_url,
        }
    }
}

impl Tenant {
    /// The models of its callers, and who serves them.
    pub fn catalogue(&self) -> &Catalogue {
        &self.shelf
    }

    /// Whether somebody may call from there, with the roles that they have. A role that is bound binds
    /// whoever has it: what gives it is of no use elsewhere, whatever else it gives.
    pub fn admits(&self, identity: &Identity, presented: &Presented<'_>) -> bool {
        let Some(roles) = self.roles.as_ref().filter(|_| !self.bound.is_empty()) else {
            return true;
        };
        let grants = roles.grants(identity);
        let has = |name: &str| grants.roles.iter().any(|role| &*role.name == name);
        let mut bound = self.bound.iter();
        bound.all(|(role, binding)| !has(role) || binding.admits(presented))
    }

    /// As it is written.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }
}

impl Tenants {
    /// The tenant of this name, or the house; `None` = it is not configured.
    pub fn find(&self, name: Option<&str>) -> Option<&Arc<Tenant>> {
        match name {
            None => Some(&self.house),
            Some(name) => self.by_name.get(name),
        }
    }

    /// One whose callers may use credentials with this tag; the house where it is none's.
    pub fn serving(&self, pool: Option<&str>) -> &Arc<Tenant> {
        let mut named = self.by_name.values();
        let found = pool.and_then(|pool| named.find(|one| one.pools.iter().any(|tag| tag == pool)));
        found.unwrap_or(&self.house)
    }

    /// Where a tenant's people find us: at its first host, or where everybody does.
    pub fn site_of(&self, name: &str) -> &Site {
        let tenant = self.by_name.get(name);
        tenant
            .and_then(|one| one.home.as_ref())
            .unwrap_or(&self.site)
    }

    /// All of them, the house first.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Tenant>> {
        std::iter::once(&self.house).chain(self.by_name.values())
    }

    /// The place that a request names; `None` = no tenant's.
    pub fn place(&self, head: &RequestHeader) -> Option<Arc<Place>> {
        if self.by_host.is_empty() {
            return None;
        }
        let host = bare(host(head)?);
        let plain = std::str::from_utf8(host).ok()?;
        if let Some(place) = self.by_host.get(plain) {
            return Some(place.clone());
        }
        let is_as_in_dns =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
        if plain.bytes().all(is_as_in_dns) {
            return None;
        }
        // In capitals, in another script, or an address in brackets.
        let host = url::Host::parse(plain).ok()?.to_string();
        self.by_host.get(&*host).cloned()
    }

    /// The tenant whose people have addresses like this one.
    pub fn by_address(&self, of: &Attributes) -> Option<&Arc<Tenant>> {
        if self.by_domain.is_empty() {
            return None;
        }
        self.by_domain
            .get(&*of.email_domain()?.to_ascii_lowercase())
    }

    /// For whom a known caller acts, and as whom; `None` = nobody is known by this credential here.
    pub fn settle<'t>(
        &'t self,
        identity: Arc<Identity>,
        place: Option<&'t Place>,
    ) -> Option<Settled<'t>> {
        let (tenant, whose) = self.whose(&identity.attributes, place)?;
        let is_asked = || identity.attributes.is_of_signed_token();
        let Some(api) = tenant.api.as_deref().filter(|_| is_asked()) else {
            let settled = || Settled::As(self.acting(identity, tenant), tenant);
            return (whose != Whose::Outside).then(settled);
        };
        let ask = ToAsk {
            identity,
            tenant,
            whose,
            api,
        };
        Some(match self.known(&ask) {
            Some((identity, tenant)) => Settled::As(identity, tenant),
            None => Settled::ToAsk(ask),
        })
    }

    /// Whose a known caller is; `None` = nobody is known by this credential here.
    ///
    /// What the credential says counts, and after it the address. The host is for those of whom
    /// neither says anything. At a tenant's host there is nobody but its own callers.
    fn whose<'t>(
        &'t self,
        of: &Attributes,
        place: Option<&'t Place>,
    ) -> Option<(&'t Arc<Tenant>, Whose)> {
        let at = place.map(|place| &place.tenant);
        let own = match &of.tenant {
            Some(name) => Some(self.by_name.get(name)?),
            // It was given to nobody else.
            None if of.token_id.is_some() => None,
            None => self.by_address(of),
        };
        match (own, at) {
            (None, None) => Some((&self.house, Whose::Assumed)),
            (Some(own), None) => Some((own, Whose::Known)),
            (Some(own), Some(at)) => Arc::ptr_eq(own, at).then_some((own, Whose::Known)),
            (None, Some(at)) => Some((at, at.by_host(of)?)),
        }
    }

    /// Whose somebody is of whom the authorization API says that they are of the tenant that is
    /// `named`; `None` = they are nobody at this host.
    pub fn assigned<'t>(
        &'t self,
        tenant: &'t Arc<Tenant>,
        whose: Whose,
        named: Option<&str>,
        at: &Arc<Tenant>,
    ) -> Option<&'t Arc<Tenant>> {
        let Some(named) = named else {
            return (whose != Whose::Outside).then_some(tenant);
        };
        let named = self.named(named, tenant, whose)?;
        let is_here = at.name.is_none() || Arc::ptr_eq(named, at);
        is_here.then_some(named)
    }

    /// Whether the authorization API can have named this tenant, or none, of who is asked about.
    pub fn fits(&self, named: Option<&str>, asked: &ToAsk<'_>) -> bool {
        match named {
            Some(name) => self.named(name, asked.tenant, asked.whose).is_some(),
            None => asked.whose != Whose::Outside,
        }
    }

    /// `None` = it is not configured, or they are known to be another's.
    fn named(&self, name: &str, tenant: &Arc<Tenant>, whose: Whose) -> Option<&Arc<Tenant>> {
        let named = self.by_name.get(name)?;
        let contradicts = whose == Whose::Known && !Arc::ptr_eq(named, tenant);
        (!contradicts).then_some(named)
    }

    /// Keeps as whom somebody acts of whom the authorization API was asked.
    pub fn keep(&self, asked: ToAsk<'_>, acting: Arc<Identity>, until: u64) {
        self.acting
            .keep(asked.identity, asked.tenant, acting, until);
    }

    /// What is known of it from before.
    fn known<'t>(&'t self, ask: &ToAsk<'t>) -> Option<(Arc<Identity>, &'t Arc<Tenant>)> {
        let known = self.acting.find(&ask.identity, ask.tenant)?;
        if known.until <= ask.api.now() {
            return None;
        }
        let name = known.identity.attributes.tenant.as_deref();
        let tenant = match name == ask.tenant.name() {
            true => ask.tenant,
            false => self.find(name)?,
        };
        Some((known.identity.clone(), tenant))
    }

    /// Whether a signed token that was refused names an issuer of another tenant: at this place nobody
    /// knows that one.
    pub fn is_anothers(&self, token: &str, place: &Place) -> bool {
        let issuer = unproven_issuer(token);
        let of = issuer.and_then(|issuer| self.by_issuer.get(&*issuer));
        of.is_some_and(|of| Some(&**of) != place.tenant.name())
    }

    fn acting(&self, identity: Arc<Identity>, tenant: &Arc<Tenant>) -> Arc<Identity> {
        if identity.attributes.tenant.is_some() || tenant.name.is_none() {
            return identity;
        }
        if let Some(known) = self.acting.find(&identity, tenant) {
            return known.identity.clone();
        }
        let mut acting = (*identity).clone();
        acting.attributes.tenant = tenant.name().map(Box::from);
        if tenant.has_own_roles {
            // They are the top level's, and say nothing of roles that are called so here.
            acting.attributes.roles.clear();
        }
        let acting = Arc::new(acting);
        self.acting.keep(identity, tenant, acting.clone(), u64::MAX);
        acting
    }
}

impl Acting {
    fn find(&self, of: &Arc<Identity>, tenant: &Arc<Tenant>) -> Option<Arc<ActingFor>> {
        self.0.get(&Self::key(of, tenant))
    }

    fn keep(&self, of: Arc<Identity>, tenant: &Arc<Tenant>, identity: Arc<Identity>, until: u64) {
        let key = Self::key(&of, tenant);
        let kept = ActingFor {
            _of: of,
            identity,
            until,
        };
        self.0.insert(key, Arc::new(kept));
    }

    fn key(of: &Arc<Identity>, tenant: &Arc<Tenant>) -> (usize, usize) {
        (Arc::as_ptr(of) as usize, Arc::as_ptr(tenant) as usize)
    }
}

impl Place {
    /// Whether this is an agent token of another tenant.
    pub fn is_foreign(&self, token: &str, book: &TokenBook) -> bool {
        id_of(token).is_some_and(|id| book.is_anothers(id, self.tenant.name()))
    }
}

impl Tenant {
    /// Whether its host makes somebody its own; `None` = it does not.
    fn by_host(&self, of: &Attributes) -> Option<Whose> {
        // Of somebody, an address has to say so where the tenant's people have some; a key is nobody.
        match !self.has_domains || of.api_key.is_some() {
            _ if of.token_id.is_some() => None,
            true => Some(Whose::Assumed),
            false => Some(Whose::Outside),
        }
    }
}

/// As the request names it. What stands before the path counts, as everywhere (RFC 9112, 3.2.2).
fn host(head: &RequestHeader) -> Option<&[u8]> {
    let in_target = head.uri.host().map(str::as_bytes);
    in_target.or_else(|| head.headers.get(HOST).map(HeaderValue::as_bytes))
}

/// A host without its port, and the dot that may end it.
fn bare(host: &[u8]) -> &[u8] {
    let digits = host.iter().rev().take_while(|byte| byte.is_ascii_digit());
    let before = host.len() - digits.count();
    let host = match host.get(before.wrapping_sub(1)) {
        // What is in brackets is an address, with colons of its own.
        Some(b':')
            if !host[..before - 1].contains(&b':') || host[before - 2..].starts_with(b"]") =>
        {
            &host[..before - 1]
        }
        _ => host,
    };
    host.strip_suffix(b".").unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_read_without_its_port() {
        for (host, expected) in [
            ("acme.example.com", "acme.example.com"),
            ("acme.example.com:8080", "acme.example.com"),
            ("acme.example.com:", "acme.example.com"),
            ("acme.example.com.:80", "acme.example.com"),
            ("10.0.0.1:80", "10.0.0.1"),
            ("10.0.0.1", "10.0.0.1"),
            ("[::1]:80", "[::1]"),
            ("[::1]", "[::1]"),
            ("", ""),
            (":", ""),
            (":80", ""),
            ("80", "80"),
        ] {
            let found = bare(host.as_bytes());
            assert_eq!(std::str::from_utf8(found).unwrap(), expected, "{host}");
        }
    }
}
