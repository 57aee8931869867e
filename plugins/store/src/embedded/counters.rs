//! What was recorded, as the tables have it.

use std::collections::BTreeMap;

use rusqlite::{OptionalExtension, Row};
use turnpike_api::{DayUsage, Spent, Usage};

use super::desk::View;
use super::failure::Failure;
use super::sums::AddUp;

pub(super) fn spent(view: &View<'_>, credential: &str, period: u64) -> Result<Spent, Failure> {
    let folded = view
        .db
        .prepare_cached(
            "SELECT tokens, estimated, calls FROM quota WHERE credential = ?1 AND period = ?2",
        )?
        .query_row((credential, period.cast_signed()), |row| {
            Ok(Spent {
                tokens: count(row, 0)?,
                estimated: count(row, 1)?,
                calls: count(row, 2)?,
            })
        })
        .optional()?;
    let mut spent = folded.unwrap_or_default();
    spent.add_up(&view.unfolded.spent_of(credential, period));
    Ok(spent)
}

pub(super) fn forget(view: &View<'_>, credential: &str, period: u64) -> Result<(), Failure> {
    view.db
        .prepare_cached("DELETE FROM quota WHERE credential = ?1 AND period = ?2")?
        .execute((credential, period.cast_signed()))?;
    Ok(())
}

pub(super) fn usage(view: &View<'_>, from: u32, to: u32) -> Result<Vec<DayUsage>, Failure> {
    let unfolded = view.unfolded.usage();
    let mut days: BTreeMap<_, _> = unfolded
        .filter(|used| (from..=to).contains(&used.day))
        .map(|used| (key(&used), used))
        .collect();
    let mut folded = view.db.prepare_cached(
        "SELECT day, credential, model, calls, input, output, cache_read, cache_write, reasoning, \
         estimated FROM usage WHERE day BETWEEN ?1 AND ?2",
    )?;
    for used in folded.query_map((from, to), used)? {
        let used = used?;
        let day = days.entry(key(&used));
        day.and_modify(|day| day.add_up(&used)).or_insert(used);
    }
    Ok(days.into_values().collect())
}

pub(super) fn forget_usage(view: &View<'_>, day: u32) -> Result<(), Failure> {
    view.db
        .prepare_cached("DELETE FROM usage WHERE day < ?1")?
        .execute([day])?;
    Ok(())
}

fn key(used: &DayUsage) -> (u32, String, String) {
    (used.day, used.credential.clone(), used.model.clone())
}

fn used(row: &Row<'_>) -> rusqlite::Result<DayUsage> {
    Ok(DayUsage {
        day: row.get(0)?,
        credential: row.get(1)?,
        model: row.get(2)?,
        calls: count(row, 3)?,
        usage: Usage {
            input: count(row, 4)?,
            output: count(row, 5)?,
            cache_read: count(row, 6)?,
            cache_write: count(row, 7)?,
            reasoning: count(row, 8)?,
        },
        estimated: count(row, 9)?,
    })
}

fn count(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get(column).map(i64::cast_unsigned)
}
