//! Records and claims. What has ended is not seen, and removed later.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, params};
use turnpike_api::{Expected, Record};

use super::desk::View;
use super::failure::Failure;

pub(super) fn get(view: &View<'_>, kind: &str, key: &str) -> Result<Option<Record>, Failure> {
    let record = view
        .db
        .prepare_cached(
            "SELECT value, version FROM records WHERE kind = ?1 AND key = ?2 \
             AND (expires_at IS NULL OR expires_at > ?3)",
        )?
        .query_row((kind, key, time(view.now)), |row| record(row, 0))
        .optional()?;
    Ok(record)
}

pub(super) fn list(view: &View<'_>, kind: &str) -> Result<Vec<(String, Record)>, Failure> {
    let mut records = view.db.prepare_cached(
        "SELECT key, value, version FROM records WHERE kind = ?1 \
         AND (expires_at IS NULL OR expires_at > ?2) ORDER BY key",
    )?;
    let records = records.query_map((kind, time(view.now)), |row| {
        Ok((row.get(0)?, record(row, 1)?))
    })?;
    Ok(records.collect::<Result<_, _>>()?)
}

pub(super) fn put(
    view: &View<'_>,
    kind: &str,
    key: &str,
    value: &[u8],
    ttl: Option<Duration>,
    expected: Expected,
) -> Result<Option<u64>, Failure> {
    let is_so = match expected {
        Expected::Anything => true,
        Expected::Absent => get(view, kind, key)?.is_none(),
        Expected::Version(version) => {
            get(view, kind, key)?.is_some_and(|record| record.version == version)
        }
    };
    if !is_so {
        return Ok(None);
    }
    let version: i64 = view
        .db
        .prepare_cached(
            "UPDATE marks SET value = value + 1 WHERE name = 'version' RETURNING value",
        )?
        .query_row([], |row| row.get(0))?;
    let ends = ttl.map(|ttl| end(view.now, ttl));
    view.db
        .prepare_cached("REPLACE INTO records (kind, key, value, version, expires_at) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![kind, key, value, version, ends])?;
    Ok(Some(version.cast_unsigned()))
}

pub(super) fn remove(view: &View<'_>, kind: &str, key: &str) -> Result<bool, Failure> {
    let removed = view
        .db
        .prepare_cached(
            "DELETE FROM records WHERE kind = ?1 AND key = ?2 \
             AND (expires_at IS NULL OR expires_at > ?3)",
        )?
        .execute((kind, key, time(view.now)))?;
    Ok(removed > 0)
}

pub(super) fn claim(
    view: &View<'_>,
    name: &str,
    holder: &str,
    ttl: Duration,
) -> Result<bool, Failure> {
    let taken = view
        .db
        .prepare_cached(
            "INSERT INTO claims (name, holder, expires_at) VALUES (?1, ?2, ?3) \
             ON CONFLICT (name) DO UPDATE SET holder = ?2, expires_at = ?3 \
             WHERE holder = ?2 OR expires_at <= ?4",
        )?
        .execute((name, holder, end(view.now, ttl), time(view.now)))?;
    Ok(taken > 0)
}

pub(super) fn release(view: &View<'_>, name: &str, holder: &str) -> Result<(), Failure> {
    view.db
        .prepare_cached("DELETE FROM claims WHERE name = ?1 AND holder = ?2")?
        .execute((name, holder))?;
    Ok(())
}

/// Removes what has ended.
pub(super) fn sweep(db: &Connection, now: u64) -> Result<(), Failure> {
    db.prepare_cached("DELETE FROM records WHERE expires_at <= ?1")?
        .execute([time(now)])?;
    db.prepare_cached("DELETE FROM claims WHERE expires_at <= ?1")?
        .execute([time(now)])?;
    Ok(())
}

fn record(row: &Row<'_>, first: usize) -> rusqlite::Result<Record> {
    Ok(Record {
        value: row.get(first)?,
        version: row.get(first + 1).map(i64::cast_unsigned)?,
    })
}

/// The first millisecond after `ttl`: nothing ends before its time.
fn end(now: u64, ttl: Duration) -> i64 {
    let ttl = ttl.as_nanos().div_ceil(1_000_000);
    time(now.saturating_add(u64::try_from(ttl).unwrap_or(u64::MAX)))
}

fn time(at: u64) -> i64 {
    i64::try_from(at).unwrap_or(i64::MAX)
}
