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
    /// Who may serve in place of whom, as each provider says, in the configuration's order.
    stand_ins: Vec<(Arc<str>, HashMap<String, StandIns>)>,
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

    /// Those of this provider.
    pub(super) fn stand_ins(&mut self, provider: &Arc<str>) -> &mut HashMap<String, StandIns> {
        let known = self.stand_ins.iter().position(|(name, _)| name == provider);
        let at = known.unwrap_or_else(|| {
            self.stand_ins.push((provider.clone(), HashMap::new()));
            self.stand_ins.len() - 1
        });
        &mut self.stand_ins[at].1
    }

    fn of(&self, pools: &[String]) -> Vec<Supply> {
        let tags: Vec<Option<String>> = match pools {
            [] => vec![None],
            pools => pools.iter().cloned().map(Some).collect(),
        };
        let supplies = tags.iter().filter_map(|tag| self.by_pool.get(tag));
        supplies.flatten().cloned().collect()
    }

    /// As the providers of these say. What others do is none of their callers' business.
    fn stand_ins_among(&self, supplies: &[Supply]) -> HashMap<String, StandIns> {
        let mut found: HashMap<String, StandIns> = HashMap::new();
        let push = |names: &mut Vec<String>, more: &[String]| {
            for name in more {
                if !names.contains(name) {
                    names.push(name.clone());
                }
            }
        };
        for (provider, stand_ins) in &self.stand_ins {
            if !supplies.iter().any(|one| one.vendor.name == *provider) {
                continue;
            }
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
        let supplies = self.stock.of(pools);
        Catalogue::new(Contents {
            stand_ins: self.stock.stand_ins_among(&supplies),
            supplies,
            force_prefix: self.force_prefix,
            default_selector: self.default_selector.clone(),
            prices: self.prices.clone(),
            metrics: self.metrics.clone(),
            board: self.board.clone(),
        })
    }
}
