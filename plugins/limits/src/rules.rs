//! Which limits a call is subject to.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;

use turnpike_api::{Level, Limit};

/// A limit, ready to be counted: with the name under which its buckets are kept.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The limit.
    pub limit: Arc<Limit>,
    /// Of the tenant, the limit, and what it counts: changed, it is another limit.
    name: Arc<str>,
    /// Of the name, which each look-up of a bucket would hash anew otherwise. Names are the operator's:
    /// it needs no secret key.
    hash: u64,
}

impl Rule {
    /// Of a tenant's limit.
    pub fn new(tenant: &str, limit: Arc<Limit>) -> Self {
        let (measure, window) = (limit.measure.as_str(), limit.window.as_str());
        let name = format!("{tenant}|{}|{measure}|{window}|", limit.name);
        Self {
            limit,
            hash: BuildHasherDefault::<DefaultHasher>::default().hash_one(&name),
            name: name.into(),
        }
    }

    /// The same, of so much.
    pub fn of(&self, most: u64) -> Self {
        let limit = Arc::new(Limit {
            most,
            ..Limit::clone(&self.limit)
        });
        let name = self.name.clone();
        Self {
            limit,
            name,
            hash: self.hash,
        }
    }

    /// Under which its buckets are kept.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Of its name. Two names may have the same.
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }
}

/// Who calls, as limits tell callers apart.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// The roles by which the call is allowed.
    pub roles: &'a [Arc<str>],
    /// The person; or the caller itself, where it is none.
    pub user: &'a str,
    /// How the person is known to people.
    pub user_name: &'a str,
    /// The credential it came with.
    pub token: &'a str,
    /// How that is known to people.
    pub token_name: &'a str,
    /// The configured key it came with, by name.
    pub api_key: Option<&'a str>,
    /// The model that serves; `None` where that is not known yet: see [`Rules::of_model`].
    pub model: Option<Model<'a>>,
}

/// A model, as limits tell models apart.
#[derive(Clone, Copy, Debug)]
pub struct Model<'a> {
    /// Whatever names callers have for it.
    pub counted: &'a str,
    /// As the caller calls it, and as the provider does.
    pub names: [&'a str; 2],
}

/// The limits of a tenant, but for those of its upstream credentials.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// For everybody.
    pub general: Vec<Rule>,
    /// By role.
    pub of_roles: Vec<(Arc<str>, Vec<Rule>)>,
    /// By the name of a configured key.
    pub of_keys: Vec<(Box<str>, Vec<Rule>)>,
}

impl Rules {
    /// Whether any depends on the roles of a caller.
    pub fn tell_roles_apart(&self) -> bool {
        !self.of_roles.is_empty()
            || self
                .general
                .iter()
                .any(|rule| rule.limit.level == Level::Role)
    }

    /// Those that count models.
    pub fn of_models(&self) -> impl Iterator<Item = &Rule> {
        let general = self.general.iter();
        general.filter(|rule| rule.limit.level == Level::Model)
    }

    /// All there are.
    pub fn all(&self) -> impl Iterator<Item = &Rule> {
        let of_roles = self.of_roles.iter().flat_map(|(_, rules)| rules);
        let of_keys = self.of_keys.iter().flat_map(|(_, rules)| rules);
        self.general.iter().chain(of_roles).chain(of_keys)
    }

    /// The rules that a call is subject to, each with its subject.
    ///
    /// Of several roles that state the same limit, the highest counts; a role that states none says
    /// nothing of it.
    pub fn of<'r>(&'r self, caller: &Caller<'r>, mut each: impl FnMut(&'r Rule, &'r str)) {
        for rule in &self.general {
            match rule.limit.level {
                Level::Tenant => each(rule, ""),
                Level::User if applies(rule, &[caller.user_name, caller.user]) => {
                    each(rule, caller.user);
                }
                Level::Token if applies(rule, &[caller.token_name, caller.token]) => {
                    each(rule, caller.token)
                }
                Level::Model => {
                    let model = caller.model.filter(|model| applies(rule, &model.names));
                    model
                        .into_iter()
                        .for_each(|model| each(rule, model.counted));
                }
                Level::Role => {
                    let roles = caller.roles.iter().map(|role| &**role);
                    let roles = roles.filter(|role| applies(rule, &[role]));
                    roles.for_each(|role| each(rule, role));
                }
                // Those are of whoever serves the call: see `of_credential`.
                Level::Credential | Level::User | Level::Token => {}
            }
        }
        self.highest_of_roles(caller, |rule| each(rule, caller.user));
        let of_key = self
            .of_keys
            .iter()
            .find(|(name, _)| caller.api_key == Some(name));
        for rule in of_key.into_iter().flat_map(|(_, rules)| rules) {
            each(rule, caller.token);
        }
    }

    /// Those of them that a call is subject to by the model that serves it, which has these names.
    pub fn of_model<'r>(&'r self, names: [&'r str; 2]) -> impl Iterator<Item = &'r Rule> {
        let of_models = self.of_models();
        of_models.filter(move |rule| applies(rule, &names))
    }

    /// The rules for an upstream credential of this id.
    pub fn of_credential(&self, id: &str) -> Vec<Rule> {
        let of_credentials = self.general.iter();
        let of_credentials = of_credentials.filter(|rule| rule.limit.level == Level::Credential);
        of_credentials
            .filter(|rule| applies(rule, &[id]))
            .cloned()
            .collect()
    }

    fn highest_of_roles<'r>(&'r self, caller: &Caller<'r>, mut each: impl FnMut(&'r Rule)) {
        let held = || {
            let of = |role: &'r Arc<str>| self.of_roles.iter().find(|(name, _)| name == role);
            let held = caller.roles.iter().filter_map(of);
            held.flat_map(|(_, rules)| rules)
        };
        for (at, rule) in held().enumerate() {
            let is_beaten = held().enumerate().any(|(other_at, other)| {
                states_the_same(rule, other) && (other.limit.most, at) > (rule.limit.most, other_at)
            });
            if !is_beaten {
                each(rule);
            }
        }
    }
}

fn applies(rule: &Rule, names: &[&str]) -> bool {
    let Some(only) = &rule.limit.only else {
        return true;
    };
    names.iter().any(|name| only.grants(name)) && !names.iter().any(|name| only.denies(name))
}

fn states_the_same(one: &Rule, other: &Rule) -> bool {
    one.limit.measure == other.limit.measure
        && one.limit.window.as_str() == other.limit.window.as_str()
}
