//! Entries added up, by the keys the tables have.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

use hashbrown::{Equivalent, HashMap};
use turnpike_api::{DayUsage, Entry, Payer, Spent, Used};

const DAY: u64 = 24 * 60 * 60 * 1000;

/// What a number of entries come to. Its size goes by how many keys there are, not entries.
#[derive(Default)]
pub(super) struct Sums {
    quota: HashMap<String, BTreeMap<u64, Spent>>,
    usage: HashMap<OwnKey, Used>,
}

/// What usage is added up by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key<'a> {
    pub(super) day: u32,
    /// Credential, model, tenant, team, user and token.
    pub(super) texts: [&'a str; 6],
}

/// The same, for keeps.
struct OwnKey {
    day: u32,
    texts: [Box<str>; 6],
}

impl Sums {
    pub(super) fn add(&mut self, entry: &Entry<'_>) {
        self.add_sum(&Key::of(entry), entry.period, &entry.used());
    }

    /// Adds what entries with this key come to, all of one period of its quota.
    pub(super) fn add_sum(&mut self, key: &Key<'_>, period: u64, used: &Used) {
        let spent = Spent {
            tokens: used.usage.input.saturating_add(used.usage.output),
            estimated: used.estimated,
            calls: used.calls,
        };
        let periods = self.quota.entry_ref(key.credential()).or_default();
        periods.entry(period).or_default().add_up(&spent);
        match self.usage.get_mut(key) {
            Some(sum) => sum.add_up(used),
            None => drop(self.usage.insert(OwnKey::from(key), *used)),
        }
    }

    /// What was spent, by credential and period.
    pub(super) fn spent(&self) -> impl Iterator<Item = (&str, u64, Spent)> {
        self.quota.iter().flat_map(|(id, periods)| {
            let periods = periods.iter();
            periods.map(move |(period, spent)| (id.as_str(), *period, *spent))
        })
    }

    /// What was spent by one credential in one period.
    pub(super) fn spent_of(&self, credential: &str, period: u64) -> Spent {
        let periods = self.quota.get(credential);
        let spent = periods.and_then(|periods| periods.get(&period));
        spent.copied().unwrap_or_default()
    }

    /// What was used, in no order.
    pub(super) fn usage(&self) -> impl Iterator<Item = (Key<'_>, &Used)> {
        self.usage.iter().map(|(key, used)| (key.borrowed(), used))
    }
}

impl<'a> Key<'a> {
    fn of(entry: &Entry<'a>) -> Self {
        let payer = entry.payer;
        Self {
            day: day(entry.at),
            texts: [
                entry.credential,
                entry.model,
                payer.tenant,
                payer.team,
                payer.user,
                payer.token,
            ],
        }
    }

    pub(super) fn credential(&self) -> &'a str {
        self.texts[0]
    }

    pub(super) fn model(&self) -> &'a str {
        self.texts[1]
    }

    pub(super) fn payer(&self) -> Payer<'a> {
        let [_, _, tenant, team, user, token] = self.texts;
        Payer {
            tenant,
            team,
            user,
            token,
        }
    }

    /// The row of it.
    pub(super) fn row(&self, used: Used) -> DayUsage {
        let [credential, model, tenant, team, user, token] = self.texts.map(str::to_owned);
        DayUsage {
            day: self.day,
            credential,
            model,
            tenant,
            team,
            user,
            token,
            used,
        }
    }
}

impl OwnKey {
    fn borrowed(&self) -> Key<'_> {
        Key {
            day: self.day,
            texts: std::array::from_fn(|nth| &*self.texts[nth]),
        }
    }
}

impl From<&Key<'_>> for OwnKey {
    fn from(key: &Key<'_>) -> Self {
        Self {
            day: key.day,
            texts: key.texts.map(Box::from),
        }
    }
}

impl Hash for OwnKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.borrowed().hash(state);
    }
}

impl PartialEq for OwnKey {
    fn eq(&self, other: &Self) -> bool {
        self.borrowed() == other.borrowed()
    }
}

impl Eq for OwnKey {}

impl Equivalent<OwnKey> for Key<'_> {
    fn equivalent(&self, own: &OwnKey) -> bool {
        *self == own.borrowed()
    }
}

/// The day of a time in milliseconds since 1970.
pub(super) fn day(at: u64) -> u32 {
    u32::try_from(at / DAY).unwrap_or(u32::MAX)
}

/// Adding up what may be any number an answer claimed: the sum stays at the largest one.
pub(super) trait AddUp {
    fn add_up(&mut self, more: &Self);
}

impl AddUp for Spent {
    fn add_up(&mut self, more: &Self) {
        let add = |sum: &mut u64, more: u64| *sum = sum.saturating_add(more);
        add(&mut self.tokens, more.tokens);
        add(&mut self.estimated, more.estimated);
        add(&mut self.calls, more.calls);
    }
}

#[cfg(test)]
mod tests {
    use turnpike_api::Usage;

    use super::*;

    fn entry<'a>(credential: &'a str, model: &'a str, at: u64, input: u64) -> Entry<'a> {
        Entry {
            payer: Payer::default(),
            credential,
            model,
            at,
            period: 7,
            usage: Usage {
                input,
                output: 10,
                cache_read: 1,
                cache_write: 2,
                reasoning: 3,
            },
            cost: Some(5),
            estimated: false,
            calls: 1,
        }
    }

    fn sums(entries: &[Entry<'_>]) -> Sums {
        let mut sums = Sums::default();
        entries.iter().for_each(|entry| sums.add(entry));
        sums
    }

    #[test]
    fn keys_are_kept_apart() {
        let paid_by = |user, token| Entry {
            payer: Payer {
                user,
                token,
                ..Payer::default()
            },
            ..entry("a", "m", DAY, 32)
        };
        let sums = sums(&[
            entry("a", "m", DAY - 1, 1),
            entry("a", "m", DAY, 2),
            entry("a", "n", DAY, 4),
            entry("b", "m", DAY, 8),
            Entry {
                period: 8,
                ..entry("a", "m", DAY, 16)
            },
            paid_by("ada", ""),
            paid_by("", "ada"),
            paid_by("ada", ""),
        ]);
        let spent = |credential, period| sums.spent_of(credential, period).tokens;
        assert_eq!(
            [spent("a", 7), spent("a", 8), spent("b", 7)],
            [37 + 126, 26, 18]
        );
        assert_eq!(sums.spent_of("c", 7), Spent::default());
        assert_eq!(sums.spent().count(), 3);

        let mut inputs: Vec<_> = sums
            .usage()
            .map(|(key, used)| {
                let row = key.row(*used);
                let who = format!("{}/{}", row.user, row.token);
                let (input, calls) = (used.usage.input, used.calls);
                (row.day, row.credential, row.model, who, input, calls)
            })
            .collect();
        inputs.sort();
        let row = |day, credential: &str, model: &str, who: &str, input, calls| {
            let texts = [credential, model, who].map(str::to_owned);
            let [credential, model, who] = texts;
            (day, credential, model, who, input, calls)
        };
        assert_eq!(
            inputs,
            [
                row(0, "a", "m", "/", 1, 1),
                row(1, "a", "m", "/", 18, 2),
                row(1, "a", "m", "/ada", 32, 1),
                row(1, "a", "m", "ada/", 64, 2),
                row(1, "a", "n", "/", 4, 1),
                row(1, "b", "m", "/", 8, 1),
            ]
        );
    }

    #[test]
    fn estimates_corrections_and_calls_without_a_price_are_told_apart() {
        let estimate = Entry {
            estimated: true,
            cost: None,
            ..entry("a", "m", 0, 5)
        };
        let correction = Entry {
            calls: 0,
            ..entry("a", "m", 0, 100)
        };
        let sums = sums(&[estimate, correction]);
        let spent = Spent {
            tokens: 125,
            estimated: 15,
            calls: 1,
        };
        assert_eq!(sums.spent_of("a", 7), spent);
        let (_, used) = sums.usage().next().unwrap();
        let usage = Usage {
            input: 105,
            output: 20,
            cache_read: 2,
            cache_write: 4,
            reasoning: 6,
        };
        let expected = Used {
            calls: 1,
            usage,
            estimated: 15,
            cost: 5,
            unpriced: 1,
        };
        assert_eq!(*used, expected);
    }

    #[test]
    fn absurd_numbers_stay_at_the_largest() {
        let dear = Entry {
            cost: Some(u64::MAX),
            ..entry("a", "m", u64::MAX, u64::MAX)
        };
        let sums = sums(&[dear; 2]);
        assert_eq!(sums.spent_of("a", 7).tokens, u64::MAX);
        let (key, used) = sums.usage().next().unwrap();
        assert_eq!((key.day, used.usage.input), (u32::MAX, u64::MAX));
        assert_eq!(used.cost, u64::MAX);
    }
}
