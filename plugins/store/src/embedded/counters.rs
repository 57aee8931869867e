//! What was spent of quotas, as the tables have it.

use rusqlite::{OptionalExtension, Row};
use turnpike_api::Spent;

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

fn count(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get(column).map(i64::cast_unsigned)
}
