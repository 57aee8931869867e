//! The names that can be asked for, and who serves them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use turnpike_api::{Dialect, Operation, Provider, Selector, glob_matches};

use turnpike_config::plan::PricesPlan;
use turnpike_limits::Price;

use super::board::Board;
use super::credential::{Credential, Vendor};
use super::pool::{Part, Pool, Roster, Unusable};
use crate::observe::metrics::Metrics;

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
    /// The client's `name` without the offer's prefix; `None` where it has to be there and is not.
    fn bare<'n>(&self, name: &'n str, force_prefix: bool) -> Option<&'n str> {
        let Some(prefix) = &self.prefix else {
            return Some(name);
        };
        let rest = name.strip_prefix(prefix.as_str());
        match rest.and_then(|rest| rest.strip_prefix('/')) {
            Some(rest) => Some(rest),
            None => (!force_prefix).then_some(name),
        }
    }

    /// The vendor's name for the client's `name`, when it is on offer.
    fn upstream_name<'n>(
        &'n self,
        name: &'n str,
        plugin: &dyn Provider,
        force_prefix: bool,
    ) -> Option<&'n str> {
        let bare = self.bare(name, force_prefix)?;
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

/// Names that only a pattern serves are resolved once and remembered, as long as they take no more
/// than this in all: one for the name, and one for each member of its pools. Callers choose such
/// names: the bound is on memory, not names.
const REMEMBERED: usize = 1 << 16;

/// Every name that can be asked for, and who serves it.
pub struct Catalogue {
    groups: Vec<Group>,
    force_prefix: bool,
    default_selector: Arc<dyn Selector>,
    prices: Arc<PricesPlan>,
    metrics: Metrics,
    board: Arc<Board>,
    /// The credentials of groups, by the groups' positions.
    rosters: Mutex<HashMap<Vec<usize>, Arc<Roster>>>,
    /// The names that are listed: looked up for each call, and put in order for a listing.
    listed: hashbrown::HashMap<Box<str>, Arc<Served>>,
    /// Names that patterns serve, as they were asked for.
    remembered: RwLock<Remembered>,
    /// For calls that name no model.
    nameless: Served,
    stand_ins: HashMap<String, StandIns>,
}

/// Who may serve in place of a model, by the names clients use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StandIns {
    /// Its preview twins: when its quota is spent.
    pub previews: Vec<String>,
    /// When it cannot be served.
    pub fallbacks: Vec<String>,
}

#[derive(Default)]
struct Remembered {
    names: HashMap<Box<str>, Arc<Served>>,
    size: usize,
}

impl Remembered {
    fn keep(&mut self, name: &str, served: &Arc<Served>) {
        let members = served.pools.iter().flatten().map(|pool| pool.len());
        let size = 1 + members.sum::<usize>();
        if self.size + size <= REMEMBERED && !self.names.contains_key(name) {
            self.size += size;
            self.names.insert(name.into(), served.clone());
        }
    }
}

/// Something of an offer: a credential that serves it, or why there is none.
#[derive(Clone)]
pub struct Supply {
    pub offer: Arc<Offer>,
    pub vendor: Arc<Vendor>,
    pub what: Supplied,
}

#[derive(Clone)]
pub enum Supplied {
    Credential(Arc<Credential>),
    /// The operator switched it off.
    Disabled,
    /// Its file cannot be read.
    Broken,
    /// The provider is configured, and that is all.
    Nothing,
}

/// Who serves the same offer.
struct Group {
    offer: Arc<Offer>,
    vendor: Arc<Vendor>,
    credentials: Vec<Arc<Credential>>,
    unusable: Unusable,
}

impl Group {
    fn of(offer: Arc<Offer>, vendor: Arc<Vendor>) -> Self {
        Self {
            offer,
            vendor,
            credentials: Vec::new(),
            unusable: Unusable::default(),
        }
    }

    fn add(&mut self, what: Supplied) {
        match what {
            Supplied::Credential(credential) => self.credentials.push(credential),
            Supplied::Disabled => self.unusable.disabled += 1,
            Supplied::Broken => self.unusable.broken += 1,
            Supplied::Nothing => {}
        }
    }

    fn plugin(&self) -> &dyn Provider {
        &*self.vendor.plugin
    }
}

fn grouped(supplies: Vec<Supply>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    // Most have the very same: to look at all of an offer for each of thousands takes long.
    let mut by_address: HashMap<*const Offer, usize> = HashMap::new();
    let mut by_offer: HashMap<Arc<Offer>, usize> = HashMap::new();
    for Supply {
        offer,
        vendor,
        what,
    } in supplies
    {
        let at = *by_address.entry(Arc::as_ptr(&offer)).or_insert_with(|| {
            *by_offer.entry(offer).or_insert_with_key(|offer| {
                groups.push(Group::of(offer.clone(), vendor));
                groups.len() - 1
            })
        });
        groups[at].add(what);
    }
    groups
}

/// What a catalogue is made of.
pub struct Contents {
    pub supplies: Vec<Supply>,
    pub stand_ins: HashMap<String, StandIns>,
    pub force_prefix: bool,
    pub default_selector: Arc<dyn Selector>,
    pub prices: Arc<PricesPlan>,
    pub metrics: Metrics,
    pub board: Arc<Board>,
}

/// In the place of a model's name that is not listed.
const UNLISTED: &str = "other";

/// A group that serves a name.
struct Found {
    group: usize,
    /// The vendor's name for it.
    model: Arc<str>,
    /// So long the group's prefix is in the name.
    prefixed: usize,
}

impl Catalogue {
    /// Groups the credentials by what they offer and resolves every name that is listed.
    pub fn new(contents: Contents) -> Self {
        let mut catalogue = Self {
            groups: grouped(contents.supplies),
            force_prefix: contents.force_prefix,
            default_selector: contents.default_selector,
            metrics: contents.metrics,
            prices: contents.prices,
            board: contents.board,
            rosters: Mutex::default(),
            listed: hashbrown::HashMap::new(),
            remembered: RwLock::default(),
            nameless: Served::default(),
            stand_ins: contents.stand_ins,
        };
        let force_prefix = catalogue.force_prefix;
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
        let served = Arc::new(self.resolve(name, UNLISTED)?);
        let written = self.remembered.write();
        written
            .unwrap_or_else(PoisonError::into_inner)
            .keep(name, &served);
        Some(served)
    }

    /// Who may serve in place of `name`, where anybody may.
    pub fn stand_ins(&self, name: &str) -> Option<&StandIns> {
        if self.stand_ins.is_empty() {
            return None;
        }
        self.stand_ins.get(name)
    }

    /// Who serves calls that name no model: the one provider of the dialect, if there is one.
    pub fn nameless(&self) -> &Served {
        &self.nameless
    }

    /// The names to list, in order.
    pub fn listed(&self) -> impl ExactSizeIterator<Item = (&str, &Served)> {
        let listed = self.listed.iter();
        let mut listed: Vec<_> = listed.map(|(name, served)| (&**name, &**served)).collect();
        listed.sort_unstable_by_key(|(name, _)| *name);
        listed.into_iter()
    }

    /// `label` stands for the name in metrics.
    fn resolve(&self, name: &str, label: &str) -> Option<Served> {
        let mut found: [Vec<Found>; 3] = Default::default();
        for (at, group) in self.groups.iter().enumerate() {
            let (offer, forced) = (&group.offer, self.force_prefix);
            if let Some(upstream) = offer.upstream_name(name, group.plugin(), forced)
                && let Some(dialect) = dialect_of(group.plugin())
            {
                let bare = offer.bare(name, forced).unwrap_or(name);
                found[index(dialect)].push(Found {
                    group: at,
                    model: upstream.into(),
                    prefixed: name.len() - bare.len(),
                });
            }
        }
        if found.iter().all(Vec::is_empty) {
            return None;
        }
        Some(Served {
            pools: found.map(|found| {
                let selector = self.selector(&groups_of(&found));
                self.pool(&found, label, selector)
            }),
        })
    }

    fn resolve_nameless(&self) -> Served {
        let pools = DIALECTS.map(|dialect| {
            let groups = self.groups.iter().enumerate();
            let found: Vec<Found> = groups
                .filter(|(_, group)| dialect_of(group.plugin()) == Some(dialect))
                .map(|(group, _)| Found {
                    group,
                    model: "".into(),
                    prefixed: 0,
                })
                .collect();
            // Always the same account: a file is known only to the one that took it.
            let selector: Arc<dyn Selector> = Arc::new(turnpike_credentials::Priority);
            match self.is_of_one_vendor(&groups_of(&found)) {
                true => self.pool(&found, "none", selector),
                false => None,
            }
        });
        Served { pools }
    }

    /// As much of a pool as `may` says of its parts; `None` = nothing of it.
    pub fn narrow(&self, pool: &Arc<Pool>, may: impl Fn(&Part) -> bool) -> Option<Arc<Pool>> {
        let parts = pool.parts();
        if parts.iter().all(&may) {
            return Some(pool.clone());
        }
        let kept: Vec<usize> = (0..parts.len()).filter(|&at| may(&parts[at])).collect();
        let make = || {
            let parts: Vec<Part> = kept.iter().map(|&at| parts[at].clone()).collect();
            let groups: Vec<usize> = parts.iter().map(|part| part.group).collect();
            let selector = self.selector(&groups);
            self.pool_of(parts, selector)
        };
        (!kept.is_empty()).then(|| pool.narrowed(&kept, make))
    }

    fn pool(&self, found: &[Found], label: &str, selector: Arc<dyn Selector>) -> Option<Arc<Pool>> {
        if found.is_empty() {
            return None;
        }
        let parts = found.iter().map(|found| {
            let provider = &self.groups[found.group].offer.vendor;
            let kind = &self.groups[found.group].vendor.kind;
            Part {
                group: found.group,
                provider: provider.clone(),
                model: found.model.clone(),
                prefixed: found.prefixed,
                counted: match label {
                    UNLISTED => UNLISTED.into(),
                    _ => found.model.to_ascii_lowercase().into(),
                },
                price: self.price(kind, provider, &found.model),
                answers: Arc::default(),
                metrics: self.metrics.model(provider, label),
            }
        });
        Some(Arc::new(self.pool_of(parts.collect(), selector)))
    }

    fn price(&self, kind: &str, provider: &str, model: &str) -> Option<Price> {
        let price = self.prices.price(kind, provider, model)?;
        Some(Price {
            input: price.input,
            output: price.output,
            cache_read: price.cache_read,
            cache_write: price.cache_write,
        })
    }

    fn pool_of(&self, parts: Vec<Part>, selector: Arc<dyn Selector>) -> Pool {
        let groups: Vec<usize> = parts.iter().map(|part| part.group).collect();
        let mut providers: Vec<Arc<str>> = parts.iter().map(|part| part.provider.clone()).collect();
        providers.dedup();
        let roster = self.roster(groups.clone());
        let mut pool = Pool::new(roster, parts, selector, self.board.clone());
        pool.providers = providers;
        for group in groups.into_iter().map(|at| &self.groups[at]) {
            pool.unusable.disabled += group.unusable.disabled;
            pool.unusable.broken += group.unusable.broken;
        }
        pool
    }

    /// The credentials of these groups; their parts are the groups' positions among them.
    fn roster(&self, groups: Vec<usize>) -> Arc<Roster> {
        let rosters = self.rosters.lock();
        let mut rosters = rosters.unwrap_or_else(PoisonError::into_inner);
        let of_group = |(part, at): (usize, &usize)| {
            let credentials = self.groups[*at].credentials.iter().cloned();
            credentials.map(move |credential| (credential, part))
        };
        let make = |groups: &Vec<usize>| {
            Arc::new(Roster::new(groups.iter().enumerate().flat_map(of_group)))
        };
        rosters.entry(groups).or_insert_with_key(make).clone()
    }

    /// The provider's own strategy when the pool is one provider's, else the default.
    fn selector(&self, groups: &[usize]) -> Arc<dyn Selector> {
        let vendor = groups.first().map(|at| &self.groups[*at].vendor);
        let alone = vendor.filter(|_| self.is_of_one_vendor(groups));
        alone
            .map_or(&self.default_selector, |vendor| &vendor.selector)
            .clone()
    }

    fn is_of_one_vendor(&self, groups: &[usize]) -> bool {
        let vendor = |at: usize| &self.groups[at].offer.vendor;
        let mut pairs = groups.windows(2);
        pairs.all(|pair| vendor(pair[0]) == vendor(pair[1]))
    }
}

fn groups_of(found: &[Found]) -> Vec<usize> {
    found.iter().map(|found| found.group).collect()
}
