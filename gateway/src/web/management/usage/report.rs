//! A report on its way: the store is asked part by part, and what is much to add up is added up on
//! threads that serve nobody.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use serde::Deserialize;
use tokio::task::spawn_blocking;
use turnpike_api::{DayUsage, Store, StoreError, UsagePlace};
use turnpike_identity::agent_tokens;
use turnpike_identity::names::{self, PersonName};

use super::super::refusal::Refused;
use super::asked::{Only, Wanted};
use super::groups::{By, Dimension, Group, Groups};

/// Groups of a report whose days are not told apart: these are all held at once.
const MOST: usize = 200_000;

/// Names for ids.
#[derive(Default)]
pub(super) struct Known {
    people: HashMap<String, PersonName>,
    tokens: HashMap<String, String>,
}

pub(super) struct Report {
    store: Arc<dyn Store>,
    filter: Arc<Filter>,
    tells_days_apart: bool,
    /// Those that are to be read.
    days: VecDeque<u32>,
    groups: Groups,
    is_over: bool,
}

/// Which rows count.
struct Filter {
    only: Only,
    /// Whoever may be meant by the user.
    users: HashSet<String>,
}

impl Known {
    pub(super) async fn read_people(&mut self, store: &dyn Store) -> Result<(), StoreError> {
        self.people = names::all(store).await?;
        Ok(())
    }

    pub(super) async fn read_tokens(&mut self, store: &dyn Store) -> Result<(), StoreError> {
        #[derive(Deserialize)]
        struct Named {
            name: String,
        }
        for (id, record) in store.list(agent_tokens::KIND).await? {
            if let Ok(Named { name }) = serde_json::from_slice(&record.value) {
                self.tokens.insert(id, name);
            }
        }
        Ok(())
    }

    pub(super) fn person(&self, user: &str) -> Option<&str> {
        self.people.get(user).map(PersonName::shown)
    }

    /// Of what a row says of a key or token.
    pub(super) fn token<'k>(&'k self, token: &'k str) -> Option<&'k str> {
        match token.split_once(' ')? {
            ("key", name) => Some(name),
            ("token", id) => self.tokens.get(id).map(String::as_str),
            _ => None,
        }
    }

    /// Whoever is called so.
    fn called(&self, wanted: &str) -> HashSet<String> {
        let is_called = |name: &PersonName| {
            let names = [Some(&name.subject), name.email.as_ref()];
            let mut names = names.into_iter().flatten();
            names.any(|name| name.eq_ignore_ascii_case(wanted))
        };
        let people = self.people.iter();
        let found = people.filter(|(_, name)| is_called(name));
        let found = found.map(|(key, _)| key.clone());
        found.chain([wanted.to_owned()]).collect()
    }
}

impl Filter {
    fn admits(&self, row: &DayUsage) -> bool {
        let only = &self.only;
        let fits = |wanted: &Option<String>, has: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == has)
        };
        fits(&only.within, &row.tenant)
            && fits(&only.tenant, &row.tenant)
            && fits(&only.team, &row.team)
            && fits(&only.token, &row.token)
            && fits(&only.model, &row.model)
            && fits(&only.credential, &row.credential)
            && (only.user.is_none() || self.users.contains(&row.user))
    }
}

impl Report {
    pub(super) async fn begin(
        store: Arc<dyn Store>,
        wanted: &Wanted,
        known: &Known,
    ) -> Result<Self, Refused> {
        let (from, to) = wanted.days();
        let days = store.usage_days(from, to).await?;
        let users = wanted.only.user.as_deref();
        let users = users.map_or_else(HashSet::new, |user| known.called(user));
        Ok(Self {
            store,
            filter: Arc::new(Filter {
                only: wanted.only.clone(),
                users,
            }),
            tells_days_apart: wanted.by.has(Dimension::Day),
            days: days.into(),
            groups: Groups::new(wanted.by),
            is_over: false,
        })
    }

    /// The groups that are complete: those of the next day, or all at once where days are not told
    /// apart. `None` = there are no more.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<Group>>, Refused> {
        while let Some(day) = self.days.pop_front() {
            self.add(day).await?;
            if self.tells_days_apart {
                return Ok(Some(self.groups.finish()));
            }
            if self.groups.len() > MOST {
                return Err(Refused::TooManyRows(MOST));
            }
        }
        let is_last = !std::mem::replace(&mut self.is_over, true) && !self.tells_days_apart;
        Ok(is_last.then(|| self.groups.finish()))
    }

    async fn add(&mut self, day: u32) -> Result<(), Refused> {
        let mut place: Option<UsagePlace> = None;
        loop {
            let page = self.store.usage_of(day, place).await?;
            let empty = Groups::new(By::of(|_| false));
            let mut groups = std::mem::replace(&mut self.groups, empty);
            let filter = self.filter.clone();
            let adding = spawn_blocking(move || {
                let rows = page.rows.iter().filter(|row| filter.admits(row));
                rows.for_each(|row| groups.add(row));
                groups
            });
            self.groups = adding.await.map_err(|_| failed())?;
            place = page.next;
            if place.is_none() {
                return Ok(());
            }
        }
    }
}

pub(super) fn failed() -> Refused {
    Refused::Failed("the gateway failed at this; its log says why".into())
}
