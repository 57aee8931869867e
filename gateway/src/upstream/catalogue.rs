//! The credentials there are, and which of them serve a model's name.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use turnpike_api::{Dialect, Operation, Provider, Secret, Selector, Slot, Tier, glob_matches};
use zeroize::Zeroizing;

use super::Endpoint;
use crate::observe::metrics::{CredentialMetrics, Metrics, TokenMetrics};

/// A provider of the configuration.
pub struct Vendor {
    pub name: Arc<str>,
    pub plugin: Arc<dyn Provider>,
    pub selector: Arc<dyn Selector>,
}

/// A credential of the configuration, ready to be used.
pub struct Credential {
    pub id: Arc<str>,
    pub vendor: Arc<Vendor>,
    pub endpoint: Endpoint,
    pub secret: Secret,
    /// Lower first.
    pub priority: i64,
    pub disabled: bool,
    /// The header lines of every call, the credential's among them, as HTTP/1 writes them.
    pub lines: Zeroizing<Vec<u8>>,
    /// The operator's own headers, which replace the caller's of the same name.
    pub headers: Vec<(http::HeaderName, http::HeaderValue)>,
    pub metrics: CredentialMetrics,
}

/// What a group of credentials has on offer: the same vendor, models, exclusions and prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Offer {
    pub vendor: Arc<str>,
    pub prefix: Option<String>,
    /// `(name at the vendor, name for clients)`; a name with `*` offers all that match it.
    pub models: Vec<(String, Option<String>)>,
    pub excluded: Vec<String>,
}

impl Offer {
    /// The vendor's name for the client's `name`, when it is on offer.
    fn upstream_name<'n>(
        &'n self,
        name: &'n str,
        plugin: &dyn Provider,
        force_prefix: bool,
    ) -> Option<&'n str> {
        let bare = match &self.prefix {
            Some(prefix) => match name
                .strip_prefix(prefix.as_str())
                .and_then(|rest| rest.strip_prefix('/'))
            {
                Some(rest) => rest,
                None if force_prefix => return None,
                None => name,
            },
            None => name,
        };
        let upstream = if self.models.is_empty() {
            plugin
                .model_patterns()
                .iter()
                .any(|glob| glob_matches(glob, bare))
                .then_some(bare)?
        } else {
            self.models.iter().find_map(|(name, alias)| match alias {
                Some(alias) => (alias == bare).then_some(name.as_str()),
                None if name.contains('*') => {
                    glob_matches(&name.to_ascii_lowercase(), bare).then_some(bare)
                }
                None => (name == bare).then_some(bare),
            })?
        };
        let is_excluded = |name: &str| {
            self.excluded
                .iter()
                .any(|glob| glob_matches(&glob.to_ascii_lowercase(), name))
        };
        (![name, bare, upstream].into_iter().any(is_excluded)).then_some(upstream)
    }

    /// The names a listing may show.
    fn names(&self, plugin: &dyn Provider, force_prefix: bool) -> Vec<String> {
        let bare: Vec<&str> = if self.models.is_empty() {
            plugin.known_models().to_vec()
        } else {
            let shown = |(name, alias): &'_ (String, Option<String>)| match alias {
                Some(_) => true,
                None => !name.contains('*'),
            };
            self.models
                .iter()
                .filter(|model| shown(model))
                .map(|(name, alias)| alias.as_deref().unwrap_or(name))
                .collect()
        };
        let mut names = Vec::new();
        for name in bare {
            match &self.prefix {
                Some(prefix) => {
                    names.push(format!("{prefix}/{name}"));
                    if !force_prefix {
                        names.push(name.to_owned());
                    }
                }
                None => names.push(name.to_owned()),
            }
        }
        names.retain(|name| self.upstream_name(name, plugin, force_prefix).is_some());
        names
    }
}

/// A credential as it serves one model's name.
pub struct Member {
    pub credential: Arc<Credential>,
    /// The vendor's name for the model.
    pub model: Arc<str>,
    pub tokens: TokenMetrics,
}

/// The credentials that serve one name in one dialect, best priority first.
pub struct Pool {
    pub members: Vec<Member>,
    tiers: Vec<Range<usize>>,
    selector: Arc<dyn Selector>,
    turn: AtomicU64,
    /// Providers whose credentials would serve it, for a refusal's text.
    pub providers: Vec<Arc<str>>,
    /// Credentials that would serve it but are disabled.
    pub disabled: usize,
}

impl Pool {
    /// Draws this request's turn: it stays the same for all its attempts.
    pub fn next_turn(&self) -> u64 {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }

    /// The member to try next, from the best tier that has an eligible one.
    pub fn pick(&self, turn: u64, eligible: impl Fn(usize) -> bool) -> Option<usize> {
        self.tiers.iter().find_map(|range| {
            let tier = Tier {
                len: range.len(),
                turn,
                eligible: &|slot: Slot| eligible(range.start + slot),
            };
            self.selector.pick(&tier).map(|slot| range.start + slot)
        })
    }
}

/// Who serves one name, by the dialect in which it can be asked for.
#[derive(Default)]
pub struct Served {
    pools: [Option<Arc<Pool>>; 3],
}

impl Served {
    /// The pool for calls of `dialect`.
    pub fn pool(&self, dialect: Dialect) -> Option<&Arc<Pool>> {
        self.pools[index(dialect)].as_ref()
    }

    /// The dialects in which the name can be asked for.
    pub fn dialects(&self) -> impl Iterator<Item = Dialect> + '_ {
        DIALECTS
            .into_iter()
            .filter(|&dialect| self.pool(dialect).is_some())
    }
}

const DIALECTS: [Dialect; 3] = [Dialect::OpenAi, Dialect::Anthropic, Dialect::Gemini];

fn index(dialect: Dialect) -> usize {
    match dialect {
        Dialect::OpenAi => 0,
        Dialect::Anthropic => 1,
        Dialect::Gemini => 2,
    }
}

/// The dialect a vendor's own protocol is of.
fn dialect_of(plugin: &dyn Provider) -> Option<Dialect> {
    Operation::ALL
        .into_iter()
        .find(|&operation| plugin.serves(operation))
        .map(Operation::dialect)
}

/// Names that only a pattern serves are resolved once and remembered, as long as their pools have
/// no more members than this in all. Callers choose such names: the bound is on memory, not names.
const REMEMBERED: usize = 1 << 16;

/// Every name that can be asked for, and who serves it.
pub struct Catalogue {
    groups: Vec<Group>,
    force_prefix: bool,
    default_selector: Arc<dyn Selector>,
    metrics: Metrics,
    /// The names that are listed.
    listed: BTreeMap<Box<str>, Arc<Served>>,
    /// Names that patterns serve, as they were asked for.
    remembered: RwLock<Remembered>,
    /// For calls that name no model.
    nameless: Served,
}

#[derive(Default)]
struct Remembered {
    names: HashMap<Box<str>, Arc<Served>>,
    members: usize,
}

impl Remembered {
    fn keep(&mut self, name: &str, served: &Arc<Served>) {
        // The name itself takes memory too.
        let members = 1 + served
            .pools
            .iter()
            .flatten()
            .map(|pool| pool.members.len())
            .sum::<usize>();
        if self.members + members <= REMEMBERED && !self.names.contains_key(name) {
            self.members += members;
            self.names.insert(name.into(), served.clone());
        }
    }
}

struct Group {
    offer: Offer,
    credentials: Vec<Arc<Credential>>,
}

impl Group {
    fn plugin(&self) -> &dyn Provider {
        &*self.credentials[0].vendor.plugin
    }
}

impl Catalogue {
    /// Groups the credentials by what they offer and resolves every name that is listed.
    pub fn new(
        offers: Vec<(Offer, Arc<Credential>)>,
        force_prefix: bool,
        default_selector: Arc<dyn Selector>,
        metrics: Metrics,
    ) -> Self {
        let mut groups: Vec<Group> = Vec::new();
        let mut by_offer: HashMap<Offer, usize> = HashMap::new();
        for (offer, credential) in offers {
            let at = *by_offer.entry(offer.clone()).or_insert_with(|| {
                groups.push(Group {
                    offer,
                    credentials: Vec::new(),
                });
                groups.len() - 1
            });
            groups[at].credentials.push(credential);
        }
        let mut catalogue = Self {
            groups,
            force_prefix,
            default_selector,
            metrics,
            listed: BTreeMap::new(),
            remembered: RwLock::default(),
            nameless: Served::default(),
        };
        let names: Vec<String> = catalogue
            .groups
            .iter()
            .flat_map(|group| group.offer.names(group.plugin(), force_prefix))
            .collect();
        for name in names {
            if !catalogue.listed.contains_key(name.as_str())
                && let Some(served) = catalogue.resolve(&name, &name)
            {
                catalogue.listed.insert(name.into(), Arc::new(served));
            }
        }
        catalogue.nameless = catalogue.resolve_nameless();
        catalogue
    }

    /// Who serves `name`.
    pub fn find(&self, name: &str) -> Option<Arc<Served>> {
        if let Some(served) = self.listed.get(name) {
            return Some(served.clone());
        }
        let read = self.remembered.read();
        if let Some(served) = read.unwrap_or_else(PoisonError::into_inner).names.get(name) {
            return Some(served.clone());
        }
        let served = Arc::new(self.resolve(name, "other")?);
        let written = self.remembered.write();
        written
            .unwrap_or_else(PoisonError::into_inner)
            .keep(name, &served);
        Some(served)
    }

    /// Who serves calls that name no model: the one provider of the dialect, if there is one.
    pub fn nameless(&self) -> &Served {
        &self.nameless
    }

    /// The names to list, in order.
    pub fn listed(&self) -> impl Iterator<Item = (&str, &Served)> {
        self.listed
            .iter()
            .map(|(name, served)| (&**name, &**served))
    }

    /// `label` stands for the name in metrics.
    fn resolve(&self, name: &str, label: &str) -> Option<Served> {
        let mut found: [Vec<(&Group, Arc<str>)>; 3] = Default::default();
        for group in &self.groups {
            if let Some(upstream) =
                group
                    .offer
                    .upstream_name(name, group.plugin(), self.force_prefix)
                && let Some(dialect) = dialect_of(group.plugin())
            {
                found[index(dialect)].push((group, upstream.into()));
            }
        }
        if found.iter().all(Vec::is_empty) {
            return None;
        }
        Some(Served {
            pools: found.map(|found| {
                let selector = self.selector(&found);
                self.pool(&found, label, selector)
            }),
        })
    }

    fn resolve_nameless(&self) -> Served {
        let pools = DIALECTS.map(|dialect| {
            let found: Vec<(&Group, Arc<str>)> = self
                .groups
                .iter()
                .filter(|group| dialect_of(group.plugin()) == Some(dialect))
                .map(|group| (group, Arc::from("")))
                .collect();
            let one = found
                .windows(2)
                .all(|pair| pair[0].0.offer.vendor == pair[1].0.offer.vendor);
            // Always the same account: a file is known only to the one that took it.
            let selector: Arc<dyn Selector> = Arc::new(turnpike_credentials::Priority);
            if one {
                self.pool(&found, "none", selector)
            } else {
                None
            }
        });
        Served { pools }
    }

    fn pool(
        &self,
        found: &[(&Group, Arc<str>)],
        label: &str,
        selector: Arc<dyn Selector>,
    ) -> Option<Arc<Pool>> {
        if found.is_empty() {
            return None;
        }
        let mut providers: Vec<Arc<str>> = found
            .iter()
            .map(|(group, _)| group.offer.vendor.clone())
            .collect();
        providers.dedup();
        let (mut members, mut disabled) = (Vec::new(), 0);
        for (group, model) in found {
            let tokens = self.metrics.tokens(&group.offer.vendor, label);
            for credential in &group.credentials {
                if credential.disabled {
                    disabled += 1;
                    continue;
                }
                members.push(Member {
                    credential: credential.clone(),
                    model: model.clone(),
                    tokens: tokens.clone(),
                });
            }
        }
        members.sort_by_key(|member| member.credential.priority);
        Some(Arc::new(Pool {
            tiers: tiers(&members),
            selector,
            turn: AtomicU64::new(fastrand::u64(..)),
            members,
            providers,
            disabled,
        }))
    }

    /// The provider's own strategy when the pool is one provider's, else the default.
    fn selector(&self, found: &[(&Group, Arc<str>)]) -> Arc<dyn Selector> {
        let vendor = found.first().map(|(group, _)| &group.credentials[0].vendor);
        let alone = |vendor: &&Arc<Vendor>| {
            let mut vendors = found.iter().map(|(group, _)| &group.offer.vendor);
            vendors.all(|name| *name == vendor.name)
        };
        let selector = vendor.filter(alone).map(|vendor| &vendor.selector);
        selector.unwrap_or(&self.default_selector).clone()
    }
}

/// The runs of equal priority.
fn tiers(members: &[Member]) -> Vec<Range<usize>> {
    let mut tiers: Vec<Range<usize>> = Vec::new();
    for (at, member) in members.iter().enumerate() {
        match tiers.last_mut() {
            Some(tier) if members[tier.start].credential.priority == member.credential.priority => {
                tier.end = at + 1;
            }
            _ => tiers.push(at..at + 1),
        }
    }
    tiers
}
