//! Notices, which every process with the same file reads.

use rusqlite::{Connection, OptionalExtension, params};
use turnpike_api::{News, Notice};

use super::desk::View;
use super::failure::Failure;

/// How many a reader gets at once.
const PAGE: u32 = 1000;

/// How many are kept, however old.
const KEPT: u64 = 10_000;

/// How long one is kept, however many there are, in milliseconds.
const KEPT_FOR: u64 = 60_000;

pub(super) fn post(view: &View<'_>, topic: &str, body: &[u8]) -> Result<u64, Failure> {
    let now = view.now.cast_signed();
    view.db
        .prepare_cached("INSERT INTO notices (topic, body, posted_at) VALUES (?1, ?2, ?3)")?
        .execute(params![topic, body, now])?;
    Ok(view.db.last_insert_rowid().cast_unsigned())
}

pub(super) fn since(view: &View<'_>, after: u64) -> Result<News, Failure> {
    let latest = latest(view)?;
    if after > latest {
        // A place in another life of this store: the file was replaced.
        return Ok(News {
            notices: Vec::new(),
            next: latest,
            gap: true,
        });
    }
    let notices = view
        .db
        .prepare_cached("SELECT id, topic, body FROM notices WHERE id > ?1 ORDER BY id LIMIT ?2")?
        .query_map((after.cast_signed(), PAGE), |row| {
            Ok(Notice {
                id: row.get(0).map(i64::cast_unsigned)?,
                topic: row.get(1)?,
                body: row.get(2)?,
            })
        })?
        .collect::<Result<Vec<_>, _>>()?;
    let pruned = number(view.db, "SELECT value FROM marks WHERE name = 'pruned'")?;
    Ok(News {
        next: notices.last().map_or(latest, |last| last.id),
        gap: after < pruned,
        notices,
    })
}

/// The number that was given last, whether or not that notice is still there.
pub(super) fn latest(view: &View<'_>) -> Result<u64, Failure> {
    let latest = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'notices'";
    Ok(number(view.db, latest)?)
}

/// Removes the oldest notices beyond those that are kept, and notes how far.
pub(super) fn prune(db: &Connection, now: u64) -> Result<(), Failure> {
    let beyond = number(db, "SELECT coalesce(max(id), 0) FROM notices")?.saturating_sub(KEPT);
    let young = now.saturating_sub(KEPT_FOR).cast_signed();
    let first_young: Option<i64> = db
        .prepare_cached("SELECT id FROM notices WHERE posted_at >= ?1 ORDER BY id LIMIT 1")?
        .query_row([young], |row| row.get(0))
        .optional()?;
    // Nothing behind a young one goes either, so that what is kept has no holes.
    let last = first_young.map_or(i64::MAX, |first| first - 1);
    let last = last.min(beyond.cast_signed());
    let removed = db
        .prepare_cached("DELETE FROM notices WHERE id <= ?1")?
        .execute([last])?;
    if removed > 0 {
        db.prepare_cached("UPDATE marks SET value = ?1 WHERE name = 'pruned'")?
            .execute([last])?;
    }
    Ok(())
}

fn number(db: &Connection, query: &str) -> rusqlite::Result<u64> {
    db.prepare_cached(query)?
        .query_row([], |row| row.get(0).map(i64::cast_unsigned))
}
