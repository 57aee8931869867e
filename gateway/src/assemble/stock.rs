//! Everything that credentials offer, by the tags under which tenants name them.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use turnpike_api::Selector;
use turnpike_config::plan::PricesPlan;

use crate::observe::metrics::Metrics;
use crate::tenant::Shelf;
use crate::upstream::catalogue::{Contents, StandIns, Supply};
use crate::upstream::{Board, Catalogue};

/// What catalogues are made of.
#[derive(Default)]
pub(super) struct Stock {
    /// Under no tag: what serves whoever names none.
    by_pool: HashMap<Option<String>, Vec<Supply>>,
    /// Who may serve in place of whom, as each says, in the configuration's order.
    stand_ins: Vec<(SaidBy, HashMap<String, StandIns>)>,
}

/// Where it is written who may serve in place of whom.
#[derive(PartialEq, Eq)]
pub(super) enum SaidBy {
    /// With a provider: it is so for all its credentials.
    Provider(Arc<str>),
    /// With credentials of a provider that have this tag, or none: it is nobody else's business.
    Credentials(Arc<str>, Option<String>),
}

impl SaidBy {
    /// Whether one of these was meant, too.
    fn is_of(&self, supplies: &[Supply], tags: &[Option<String>]) -> bool {
        let (provider, is_tagged_so) = match self {
            Self::Provider(provider) => (provider, true),
            Self::Credentials(provider, tag) => (provider, tags.contains(tag)),
        };
        is_tagged_so && supplies.iter().any(|one| one.vendor.name == *provider)
    }
}

/// The same, with what all catalogues have in common.
pub(super) struct Shelves {
    pub(super) stock: Stock,
    pub(super) force_prefix: bool,
    pub(super) default_selector: Arc<dyn Selector>,
    pub(super) prices: Arc<PricesPlan>,
    pub(super) metrics: Metrics,
    pub(super) board: Arc<Board>,
}

impl Stock {
    pub(super) fn add(&mut self, pool: Option<String>, supply: Supply) {
        self.by_pool.entry(pool).or_default().push(supply);
    }

    /// Those that are written there.
    pub(super) fn stand_ins(&mut self, source: SaidBy) -> &mut HashMap<String, StandIns> {
        let known = self
            .stand_ins
            .iter()
            .position(|(known, _)| *known == source);
        let at = known.unwrap_or_else(|| {
            self.stand_ins.push((source, HashMap::new()));
            self.stand_ins.len() - 1
        });
        &mut self.stand_ins[at].1
    }

    fn of(&self, tags: &[Option<String>]) -> Vec<Supply> {
        let supplies = tags.iter().filter_map(|tag| self.by_pool.get(tag));
        supplies.flatten().cloned().collect()
    }

    /// As is written for these. What others do is none of their callers' business.
    fn stand_ins_among(
        &self,
        supplies: &[Supply],
        tags: &[Option<String>],
    ) -> HashMap<String, StandIns> {
        let mut found: HashMap<String, StandIns> = HashMap::new();
        let push = |names: &mut Vec<String>, more: &[String]| {
            for name in more {
                if !names.contains(name) {
                    names.push(name.clone());
                }
            }
        };
        let theirs = self.stand_ins.iter();
        let theirs = theirs.filter(|(source, _)| source.is_of(supplies, tags));
        for (_, stand_ins) in theirs {
            for (asked, more) in stand_ins {
                let known = found.entry(asked.clone()).or_default();
                push(&mut known.previews, &more.previews);
                push(&mut known.fallbacks, &more.fallbacks);
            }
        }
        found
    }
}

impl Shelves {
    /// The models that the credentials with these tags serve; of those without any, where there are
    /// none.
    pub(super) fn shelf(self: &Arc<Self>, pools: &[String]) -> Shelf {
        let (shelves, pools) = (self.clone(), pools.to_vec());
        Arc::new(LazyLock::new(Box::new(move || shelves.catalogue(&pools))))
    }

    fn catalogue(&self, pools: &[String]) -> Catalogue {
        let tags: Vec<Option<String>> = match pools {
            [] => vec![None],
            pools => pools.iter().cloned().map(Some).collect(),
        };
        let supplies = self.stock.of(&tags);
        Catalogue::new(Contents {
            stand_ins: self.stock.stand_ins_among(&supplies, &tags),
            supplies,
            force_prefix: self.force_prefix,
            default_selector: self.default_selector.clone(),
            prices: self.prices.clone(),
            metrics: self.metrics.clone(),
            board: self.board.clone(),
        })
    }
}
