//! Who has which roles.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use turnpike_api::{Attributes, Grants, Identity, Role};

use crate::Matchers;

/// As many sets of roles are shared by the callers who have them. Callers with others have a set of
/// their own.
const SHARED: usize = 4096;

/// The roles of one configuration, and who has them.
pub struct RoleTable {
    /// Tells it from the tables of other configurations.
    id: u64,
    roles: Vec<Arc<Role>>,
    /// With the position of the role that each binds.
    bindings: Vec<(usize, Matchers)>,
    by_name: HashMap<Box<str>, usize>,
    /// The sets of roles that callers have, by the roles' positions.
    sets: Mutex<HashMap<Box<[usize]>, Arc<Grants>>>,
}

/// Binds a role to whom the matchers match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Binding {
    pub role: Box<str>,
    pub matchers: Matchers,
}

impl RoleTable {
    /// Of roles whose names differ. A binding of a role that there is not binds nothing.
    pub fn new(roles: Vec<Role>, bindings: Vec<Binding>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let names = roles.iter().map(|role| Box::from(&*role.name));
        let by_name: HashMap<Box<str>, usize> = names.zip(0..).collect();
        let bound = |binding: Binding| Some((*by_name.get(&binding.role)?, binding.matchers));
        let bindings = bindings.into_iter().filter_map(bound).collect();
        Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            roles: roles.into_iter().map(Arc::new).collect(),
            bindings,
            by_name,
            sets: Mutex::default(),
        }
    }

    /// The roles in effect for a caller: looked up in the bindings when this table sees the identity
    /// for the first time, and then kept beside the identity. So a request costs one load, and another
    /// configuration, which has another table, counts at once.
    pub fn grants(&self, identity: &Identity) -> Arc<Grants> {
        self.with_grants(identity, Clone::clone)
    }

    /// The same, looked at in place.
    pub(crate) fn with_grants<R>(
        &self,
        identity: &Identity,
        look: impl FnOnce(&Arc<Grants>) -> R,
    ) -> R {
        let kept = identity.grants.load();
        if let Some(grants) = &*kept
            && grants.table == self.id
        {
            return look(grants);
        }
        let grants = self.of(&identity.attributes);
        identity.grants.keep(grants.clone());
        look(&grants)
    }

    /// The roles of whom this is known. It goes through all bindings.
    pub fn of(&self, attributes: &Attributes) -> Arc<Grants> {
        let given = attributes.roles.iter();
        let given = given.filter_map(|name| self.by_name.get(name).copied());
        let bound = self.bindings.iter();
        let bound = bound.filter(|(_, matchers)| matchers.match_all(attributes));
        let mut set: Vec<usize> = given.chain(bound.map(|(role, _)| *role)).collect();
        set.sort_unstable();
        set.dedup();
        self.shared(set.into())
    }

    /// Whether there is a role of this name.
    pub fn has(&self, role: &str) -> bool {
        self.by_name.contains_key(role)
    }

    fn shared(&self, set: Box<[usize]>) -> Arc<Grants> {
        let mut sets = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(grants) = sets.get(&set) {
            return grants.clone();
        }
        let grants = Arc::new(Grants {
            table: self.id,
            roles: set.iter().map(|&at| self.roles[at].clone()).collect(),
        });
        if sets.len() < SHARED {
            sets.insert(set, grants.clone());
        }
        grants
    }
}

#[cfg(test)]
mod tests {
    use turnpike_api::ModelRules;

    use super::*;

    fn list(words: &str) -> Vec<Box<str>> {
        words.split_whitespace().map(Box::from).collect()
    }

    fn role(name: &str) -> Role {
        Role {
            name: name.into(),
            models: ModelRules::default(),
            providers: ModelRules::any(),
            permissions: Vec::new(),
            management: Vec::new(),
        }
    }

    #[test]
    fn an_identity_is_looked_up_once_a_table_and_sets_are_shared() {
        let everyone = || Binding {
            role: "dev".into(),
            matchers: Matchers {
                everyone: true,
                ..Matchers::default()
            },
        };
        let table = RoleTable::new(vec![role("dev")], vec![everyone()]);
        let (one, other) = (
            Identity::new("a", ModelRules::any()),
            Identity::new("b", ModelRules::any()),
        );
        let grants = table.grants(&one);
        assert!(Arc::ptr_eq(&grants, &table.grants(&one)));
        assert!(Arc::ptr_eq(&grants, &table.grants(&other)));
        let next = RoleTable::new(vec![role("dev")], Vec::new());
        assert!(
            next.grants(&one).roles.is_empty(),
            "of another configuration"
        );
        assert_eq!(table.grants(&one), grants, "and the first is not forgotten");
    }

    #[test]
    fn roles_that_are_given_by_name_count_where_there_are_such() {
        let table = RoleTable::new(vec![role("dev"), role("ops")], Vec::new());
        let given = Attributes {
            roles: list("ops nobody Dev"),
            ..Attributes::default()
        };
        let grants = table.of(&given);
        let names: Vec<&str> = grants.roles.iter().map(|role| &*role.name).collect();
        assert_eq!(names, ["ops"]);
    }
}
