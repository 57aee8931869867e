//! The keys of clients by whose they are. Made once: tenants are many, and so are their keys.

use std::collections::{HashMap, HashSet};

use crate::document::Document;
use crate::plan::ClientKeyPlan;

/// Of each tenant, and under `None` of whoever's host is called.
type Of<'k, T> = HashMap<Option<&'k str>, T>;

pub(super) struct Owners<'k> {
    keys: Of<'k, Vec<&'k str>>,
    /// The names that keys were given, also keys that something is wrong with.
    all_given: HashSet<&'k str>,
    given: Of<'k, HashSet<&'k str>>,
    roles: Of<'k, HashSet<&'k str>>,
}

/// The names that keys were given: the others are those of positions, at which another key may stand
/// tomorrow.
pub(super) struct Given<'o> {
    sets: Vec<&'o HashSet<&'o str>>,
}

impl<'k> Owners<'k> {
    pub(super) fn of(document: &'k Document, client_keys: &'k [ClientKeyPlan]) -> Self {
        let full = || document.api_keys.iter().filter_map(|entry| entry.full());
        let named = full().filter_map(|full| full.name.as_deref());
        // Beyond those of the section there is the environment's.
        let rest = client_keys.iter().skip(document.api_keys.len());
        let mut owners = Self {
            keys: Of::new(),
            all_given: named.chain(rest.map(|key| key.name.as_str())).collect(),
            given: Of::new(),
            roles: Of::new(),
        };
        for key in client_keys {
            let (tenant, name) = (key.tenant.as_deref(), key.name.as_str());
            owners.keys.entry(tenant).or_default().push(name);
            if owners.all_given.contains(name) {
                owners.given.entry(tenant).or_default().insert(name);
            }
        }
        for full in full() {
            let roles = full.roles.iter().map(String::as_str);
            let of = owners.roles.entry(full.tenant.as_deref()).or_default();
            of.extend(roles);
        }
        owners
    }

    /// The names of those that may act for a tenant.
    pub(super) fn keys<'o>(&'o self, tenant: &'o str) -> impl Iterator<Item = &'o str> {
        let lists = [None, Some(tenant)].map(|owner| self.keys.get(&owner));
        lists.into_iter().flatten().flatten().copied()
    }

    /// Of these, the names that were given.
    pub(super) fn given<'o>(&'o self, tenant: &'o str) -> Given<'o> {
        let sets = [None, Some(tenant)].map(|owner| self.given.get(&owner));
        Given {
            sets: sets.into_iter().flatten().collect(),
        }
    }

    pub(super) fn all_given(&self) -> Given<'_> {
        Given {
            sets: vec![&self.all_given],
        }
    }

    /// The roles that the keys of a tenant name; `None` = those that are of none.
    pub(super) fn roles<'o>(&'o self, tenant: Option<&'o str>) -> impl Iterator<Item = &'o str> {
        self.roles.get(&tenant).into_iter().flatten().copied()
    }

    /// Whose keys there are.
    pub(super) fn tenants(&self) -> impl Iterator<Item = Option<&'k str>> {
        self.roles.keys().copied()
    }
}

impl<'o> Given<'o> {
    pub(super) fn has(&self, name: &str) -> bool {
        self.sets.iter().any(|names| names.contains(name))
    }

    /// In order, so that the same is said of the same mistake each time.
    pub(super) fn sorted(&self) -> Vec<&'o str> {
        let mut names: Vec<&str> = self.sets.iter().copied().flatten().copied().collect();
        names.sort_unstable();
        names
    }
}
