//! Usage, day by day and part by part.

use rusqlite::{Row, params};
use turnpike_api::{DayUsage, Usage, UsagePage, UsagePlace, Used};

use super::desk::View;
use super::failure::Failure;

/// Rows of a part: a millisecond or two, for which whoever else asks the store waits.
const PAGE: u32 = 1_000;

/// A day with usage, and the journal that was folded into it last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DayChange {
    pub(crate) day: u32,
    pub(crate) changed: u64,
}

/// What changed of a day's usage. Places are by when something changed.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) rows: Vec<DayUsage>,
    pub(crate) next: Option<ChangePlace>,
}

/// The row after which to go on.
#[derive(Clone, Debug, Default)]
pub(crate) struct ChangePlace {
    changed: u64,
    row: Place,
}

/// The key of a row within its day.
#[derive(Clone, Debug)]
struct Place {
    payer: i64,
    credential: String,
    model: String,
}

impl ChangePlace {
    /// Behind everything that changed with this journal or before.
    pub(crate) fn behind(changed: u64) -> Self {
        Self {
            changed,
            row: Place {
                payer: i64::MAX,
                ..Place::default()
            },
        }
    }
}

impl Default for Place {
    /// Before every row.
    fn default() -> Self {
        Self {
            payer: -1,
            credential: String::new(),
            model: String::new(),
        }
    }
}

pub(super) fn days(view: &View<'_>, from: u32, to: u32) -> Result<Vec<u32>, Failure> {
    let unfolded = view.unfolded.usage().map(|(key, _)| key.day);
    let mut days: Vec<u32> = unfolded.filter(|day| (from..=to).contains(day)).collect();
    let mut folded = view
        .db
        .prepare_cached("SELECT day FROM usage_days WHERE day BETWEEN ?1 AND ?2")?;
    for day in folded.query_map((from, to), |row| row.get(0))? {
        days.push(day?);
    }
    days.sort_unstable();
    days.dedup();
    Ok(days)
}

/// A part of a day, of what is in the tables.
pub(super) fn page(
    view: &View<'_>,
    day: u32,
    place: Option<UsagePlace>,
) -> Result<UsagePage, Failure> {
    let place = place.map_or(Some(Place::default()), |place| Place::read(&place.0));
    // What no part said is behind everything.
    let Some(place) = place else {
        return Ok(UsagePage::default());
    };
    let (rows, last) = read(view, day, &place, PAGE)?;
    let next = last.filter(|_| rows.len() == PAGE as usize);
    Ok(UsagePage {
        rows,
        next: next.map(|place| UsagePlace(place.text())),
    })
}

/// All of a day at once, with what is in journals: an entry must not be read in both.
pub(super) fn whole(view: &View<'_>, day: u32) -> Result<UsagePage, Failure> {
    let (mut rows, _) = read(view, day, &Place::default(), u32::MAX)?;
    let unfolded = view.unfolded.usage();
    let unfolded = unfolded.filter(|(key, _)| key.day == day);
    rows.extend(unfolded.map(|(key, used)| key.row(*used)));
    Ok(UsagePage { rows, next: None })
}

fn read(
    view: &View<'_>,
    day: u32,
    place: &Place,
    most: u32,
) -> Result<(Vec<DayUsage>, Option<Place>), Failure> {
    let mut statement = view.db.prepare_cached(include_str!("sql/usage_page.sql"))?;
    let key = params![day, place.payer, place.credential, place.model, most];
    let (mut rows, mut last) = (Vec::new(), 0);
    for row in statement.query_map(key, |row| Ok((used(day, row)?, row.get(15)?)))? {
        let (row, payer) = row?;
        rows.push(row);
        last = payer;
    }
    let last = rows.last().map(|row| Place::of(row, last));
    Ok((rows, last))
}

pub(super) fn forget(view: &View<'_>, day: u32) -> Result<(), Failure> {
    for table in [
        "DELETE FROM usage WHERE day < ?1",
        "DELETE FROM usage_days WHERE day < ?1",
        "DELETE FROM payers WHERE last_day < ?1",
    ] {
        view.db.prepare_cached(table)?.execute([day])?;
    }
    Ok(())
}

/// The days from `from` on with usage, and when they changed last.
pub(super) fn changed_days(view: &View<'_>, from: u32) -> Result<Vec<DayChange>, Failure> {
    let mut days = view
        .db
        .prepare_cached("SELECT day, changed FROM usage_days WHERE day >= ?1")?;
    let days = days.query_map([from], |row| {
        Ok(DayChange {
            day: row.get(0)?,
            changed: count(row, 1)?,
        })
    })?;
    Ok(days.collect::<Result<_, _>>()?)
}

pub(super) fn changes(
    view: &View<'_>,
    day: u32,
    place: &ChangePlace,
    most: u32,
) -> Result<Changes, Failure> {
    let mut statement = view
        .db
        .prepare_cached(include_str!("sql/usage_changes.sql"))?;
    let ChangePlace { changed, row: key } = place;
    let key = params![
        day,
        changed.cast_signed(),
        key.payer,
        key.credential,
        key.model,
        most
    ];
    let (mut rows, mut last) = (Vec::new(), (0, 0));
    let read = |row: &Row<'_>| Ok((used(day, row)?, (row.get(15)?, count(row, 16)?)));
    for row in statement.query_map(key, read)? {
        let (row, at) = row?;
        rows.push(row);
        last = at;
    }
    let next = rows.last().filter(|_| rows.len() == most as usize);
    let next = next.map(|row| ChangePlace {
        changed: last.1,
        row: Place::of(row, last.0),
    });
    Ok(Changes { rows, next })
}

/// What tells this store from those of other replicas.
pub(super) fn replica(view: &View<'_>) -> Result<String, Failure> {
    let id = view
        .db
        .prepare_cached("SELECT value FROM marks WHERE name = 'replica'")?
        .query_row([], |row| count(row, 0))?;
    Ok(format!("{id:016x}"))
}

impl Place {
    fn of(row: &DayUsage, payer: i64) -> Self {
        Self {
            payer,
            credential: row.credential.clone(),
            model: row.model.clone(),
        }
    }

    fn text(&self) -> String {
        format!("{}\t{}\t{}", self.payer, self.credential, self.model)
    }

    fn read(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '\t');
        Some(Self {
            payer: parts.next()?.parse().ok()?,
            credential: parts.next()?.to_owned(),
            model: parts.next()?.to_owned(),
        })
    }
}

fn used(day: u32, row: &Row<'_>) -> rusqlite::Result<DayUsage> {
    Ok(DayUsage {
        day,
        credential: row.get(0)?,
        model: row.get(1)?,
        tenant: row.get(2)?,
        team: row.get(3)?,
        user: row.get(4)?,
        token: row.get(5)?,
        used: Used {
            calls: count(row, 6)?,
            usage: Usage {
                input: count(row, 7)?,
                output: count(row, 8)?,
                cache_read: count(row, 9)?,
                cache_write: count(row, 10)?,
                reasoning: count(row, 11)?,
            },
            estimated: count(row, 12)?,
            cost: count(row, 13)?,
            unpriced: count(row, 14)?,
        },
    })
}

fn count(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get(column).map(i64::cast_unsigned)
}
