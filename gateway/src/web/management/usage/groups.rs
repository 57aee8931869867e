//! Rows added up by what a report tells apart.

use std::collections::BTreeMap;
use std::mem::take;

use turnpike_api::{DayUsage, Used};

/// What rows may be told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dimension {
    Day,
    Tenant,
    Team,
    User,
    Token,
    Model,
    Credential,
}

/// Some of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct By([bool; 7]);

/// What a group has in common, and `None` for what it is added up over. In the order of a report.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) day: Option<u32>,
    pub(super) tenant: Option<Box<str>>,
    pub(super) team: Option<Box<str>>,
    pub(super) user: Option<Box<str>>,
    pub(super) token: Option<Box<str>>,
    pub(super) model: Option<Box<str>>,
    pub(super) credential: Option<Box<str>>,
}

#[derive(Debug)]
pub(super) struct Group {
    pub(super) key: Key,
    pub(super) used: Used,
}

/// Sums on their way.
pub(super) struct Groups {
    by: By,
    sums: BTreeMap<Key, Used>,
}

impl Dimension {
    pub(super) const ALL: [Self; 7] = [
        Self::Day,
        Self::Tenant,
        Self::Team,
        Self::User,
        Self::Token,
        Self::Model,
        Self::Credential,
    ];

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Tenant => "tenant",
            Self::Team => "team",
            Self::User => "user",
            Self::Token => "token",
            Self::Model => "model",
            Self::Credential => "credential",
        }
    }
}

impl By {
    pub(super) fn of(has: impl Fn(Dimension) -> bool) -> Self {
        Self(Dimension::ALL.map(has))
    }

    pub(super) fn has(self, dimension: Dimension) -> bool {
        self.0[dimension as usize]
    }

    pub(super) fn words(self) -> Vec<&'static str> {
        let all = Dimension::ALL.into_iter();
        all.filter(|one| self.has(*one))
            .map(Dimension::word)
            .collect()
    }

    fn key(self, row: &DayUsage) -> Key {
        let text = |dimension, text: &str| self.has(dimension).then(|| Box::from(text));
        Key {
            day: self.has(Dimension::Day).then_some(row.day),
            tenant: text(Dimension::Tenant, &row.tenant),
            team: text(Dimension::Team, &row.team),
            user: text(Dimension::User, &row.user),
            token: text(Dimension::Token, &row.token),
            model: text(Dimension::Model, &row.model),
            credential: text(Dimension::Credential, &row.credential),
        }
    }
}

impl Groups {
    pub(super) fn new(by: By) -> Self {
        Self {
            by,
            sums: BTreeMap::new(),
        }
    }

    pub(super) fn add(&mut self, row: &DayUsage) {
        let sum = self.sums.entry(self.by.key(row)).or_default();
        sum.add_up(&row.used);
    }

    pub(super) fn len(&self) -> usize {
        self.sums.len()
    }

    /// What there is by now; it begins anew.
    pub(super) fn finish(&mut self) -> Vec<Group> {
        let sums = take(&mut self.sums).into_iter();
        sums.map(|(key, used)| Group { key, used }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_added_up_over_what_is_not_told_apart() {
        let row = |day, user: &str, model: &str, calls| DayUsage {
            day,
            user: user.into(),
            model: model.into(),
            used: Used {
                calls,
                ..Used::default()
            },
            ..DayUsage::default()
        };
        let rows = [
            row(2, "ada", "m", 1),
            row(1, "ada", "n", 2),
            row(1, "", "m", 4),
            row(1, "ada", "m", 8),
        ];
        let report = |words: &[&str]| {
            let mut groups = Groups::new(By::of(|one| words.contains(&one.word())));
            rows.iter().for_each(|row| groups.add(row));
            let shown = |group: Group| {
                let key = group.key;
                let texts = [key.user, key.model].map(|text| text.unwrap_or("-".into()));
                format!(
                    "{} {} {}",
                    key.day.unwrap_or(0),
                    texts.join("/"),
                    group.used.calls
                )
            };
            groups.finish().into_iter().map(shown).collect::<Vec<_>>()
        };
        assert_eq!(report(&[]), ["0 -/- 15"]);
        assert_eq!(report(&["user"]), ["0 /- 4", "0 ada/- 11"]);
        assert_eq!(
            report(&["model", "day"]),
            ["1 -/m 12", "1 -/n 2", "2 -/m 1"]
        );
        assert_eq!(report(&["day", "user", "model"]).len(), 4);
    }
}
