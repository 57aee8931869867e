//! Entries added up, by the keys the tables have.

use std::collections::BTreeMap;

use hashbrown::HashMap;
use turnpike_api::{DayUsage, Entry, Spent, Usage};

const DAY: u64 = 24 * 60 * 60 * 1000;

/// What a number of entries come to.
#[derive(Default)]
pub(super) struct Sums {
    credentials: HashMap<String, Credential>,
}

#[derive(Default)]
struct Credential {
    periods: BTreeMap<u64, Spent>,
    models: HashMap<String, BTreeMap<u32, Day>>,
}

/// What a credential used of a model on a day.
#[derive(Clone, Copy, Default)]
struct Day {
    calls: u64,
    usage: Usage,
    estimated: u64,
}

impl Sums {
    pub(super) fn add(&mut self, entry: &Entry<'_>) {
        let usage = entry.usage;
        let tokens = usage.input.saturating_add(usage.output);
        let estimated = if entry.estimated { tokens } else { 0 };
        let calls = u64::from(entry.calls);

        let credential = self.credentials.entry_ref(entry.credential);
        let credential = credential.or_default();
        let spent = credential.periods.entry(entry.period).or_default();
        spent.add_up(&Spent {
            tokens,
            estimated,
            calls,
        });
        let days = credential.models.entry_ref(entry.model).or_default();
        let day = u32::try_from(entry.at / DAY).unwrap_or(u32::MAX);
        days.entry(day).or_default().add(calls, &usage, estimated);
    }

    /// What was spent, by credential and period.
    pub(super) fn spent(&self) -> impl Iterator<Item = (&str, u64, Spent)> {
        self.credentials.iter().flat_map(|(id, credential)| {
            let periods = credential.periods.iter();
            periods.map(move |(period, spent)| (id.as_str(), *period, *spent))
        })
    }

    /// What was spent by one credential in one period.
    pub(super) fn spent_of(&self, credential: &str, period: u64) -> Spent {
        let credential = self.credentials.get(credential);
        let spent = credential.and_then(|credential| credential.periods.get(&period));
        spent.copied().unwrap_or_default()
    }

    /// What was used, in no order.
    pub(super) fn usage(&self) -> impl Iterator<Item = DayUsage> {
        self.credentials.iter().flat_map(|(id, credential)| {
            credential.models.iter().flat_map(move |(model, days)| {
                days.iter().map(move |(day, of_day)| DayUsage {
                    day: *day,
                    credential: id.clone(),
                    model: model.clone(),
                    calls: of_day.calls,
                    usage: of_day.usage,
                    estimated: of_day.estimated,
                })
            })
        })
    }
}

impl Day {
    fn add(&mut self, calls: u64, usage: &Usage, estimated: u64) {
        add(&mut self.calls, calls);
        add(&mut self.estimated, estimated);
        self.usage.add_up(usage);
    }
}

/// Adding up what may be any number an answer claimed: the sum stays at the largest one.
pub(super) trait AddUp {
    fn add_up(&mut self, more: &Self);
}

impl AddUp for Spent {
    fn add_up(&mut self, more: &Self) {
        add(&mut self.tokens, more.tokens);
        add(&mut self.estimated, more.estimated);
        add(&mut self.calls, more.calls);
    }
}

impl AddUp for Usage {
    fn add_up(&mut self, more: &Self) {
        *self = self.plus(more);
    }
}

impl AddUp for DayUsage {
    fn add_up(&mut self, more: &Self) {
        add(&mut self.calls, more.calls);
        add(&mut self.estimated, more.estimated);
        self.usage.add_up(&more.usage);
    }
}

fn add(sum: &mut u64, more: u64) {
    *sum = sum.saturating_add(more);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry<'a>(credential: &'a str, model: &'a str, at: u64, input: u64) -> Entry<'a> {
        Entry {
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
        let sums = sums(&[
            entry("a", "m", DAY - 1, 1),
            entry("a", "m", DAY, 2),
            entry("a", "n", DAY, 4),
            entry("b", "m", DAY, 8),
            Entry {
                period: 8,
                ..entry("a", "m", DAY, 16)
            },
        ]);
        let spent = |credential, period| sums.spent_of(credential, period).tokens;
        assert_eq!([spent("a", 7), spent("a", 8), spent("b", 7)], [37, 26, 18]);
        assert_eq!(sums.spent_of("c", 7), Spent::default());
        assert_eq!(sums.spent().count(), 3);

        let mut inputs: Vec<_> = sums
            .usage()
            .map(|of| (of.day, of.credential, of.model, of.usage.input, of.calls))
            .collect();
        inputs.sort();
        let row = |day, credential: &str, model: &str, input, calls| {
            (day, credential.to_owned(), model.to_owned(), input, calls)
        };
        assert_eq!(
            inputs,
            [
                row(0, "a", "m", 1, 1),
                row(1, "a", "m", 18, 2),
                row(1, "a", "n", 4, 1),
                row(1, "b", "m", 8, 1),
            ]
        );
    }

    #[test]
    fn estimates_and_corrections_are_told_apart() {
        let estimate = Entry {
            estimated: true,
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
        let used = sums.usage().next().unwrap();
        assert_eq!((used.calls, used.estimated), (1, 15));
        let usage = Usage {
            input: 105,
            output: 20,
            cache_read: 2,
            cache_write: 4,
            reasoning: 6,
        };
        assert_eq!(used.usage, usage);
    }

    #[test]
    fn absurd_numbers_stay_at_the_largest() {
        let sums = sums(&[entry("a", "m", u64::MAX, u64::MAX); 2]);
        assert_eq!(sums.spent_of("a", 7).tokens, u64::MAX);
        let used = sums.usage().next().unwrap();
        assert_eq!((used.day, used.usage.input), (u32::MAX, u64::MAX));
    }
}
