//! Limits: what this process was granted of each, and what those before it had taken.

use rusqlite::{Connection, OptionalExtension};
use turnpike_api::{Draw, Drawn, Grant};

use super::desk::View;
use super::failure::Failure;

/// What was drawn is kept for so long after its period, for calls that outlast it.
const KEPT: u64 = 60 * 60 * 1000;

/// A single node is all replicas there are.
const REPLICAS: u32 = 1;

/// What others have taken of a bucket, and what is known of the replica that draws.
struct Known {
    others: u64,
    used_by_others: u64,
    turn: u64,
}

pub(super) fn draw(view: &View<'_>, replica: &str, draws: &[Draw]) -> Result<Drawn, Failure> {
    let grants = draws.iter().map(|draw| match draw.returns {
        true => Ok(of_running(draw)),
        false => of_period(view, replica, draw),
    });
    Ok(Drawn {
        grants: grants.collect::<Result<_, _>>()?,
        now: view.now,
        replicas: REPLICAS,
        epoch: 0,
    })
}

/// Calls run in this process only.
fn of_running(draw: &Draw) -> Grant {
    let units = draw.grant(0, REPLICAS);
    Grant {
        units,
        left: draw.left(0) - units,
        used: 0,
    }
}

fn of_period(view: &View<'_>, replica: &str, draw: &Draw) -> Result<Grant, Failure> {
    let known = known(view.db, replica, draw)?;
    let used = known.used_by_others.saturating_add(draw.used);
    let left = draw.left(known.others);
    if draw.turn <= known.turn {
        let units = 0;
        return Ok(Grant { units, left, used });
    }
    let units = match draw.period.contains(view.now) {
        true => draw.grant(known.others, REPLICAS),
        false => 0,
    };
    view.db
        .prepare_cached(
            "INSERT INTO draws (bucket, start, end, replica, turn, total, used) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) \
             ON CONFLICT DO UPDATE SET turn = ?5, total = ?6, used = ?7",
        )?
        .execute((
            &*draw.bucket,
            draw.period.start.cast_signed(),
            end(draw),
            replica,
            draw.turn.cast_signed(),
            storable(draw.total.saturating_add(units)),
            storable(draw.used),
        ))?;
    Ok(Grant {
        units,
        left: left.saturating_sub(units),
        used,
    })
}

fn known(db: &Connection, replica: &str, draw: &Draw) -> Result<Known, Failure> {
    let key = (&*draw.bucket, draw.period.start.cast_signed(), replica);
    let others = db
        .prepare_cached(
            "SELECT coalesce(sum(total), 0), coalesce(sum(used), 0) FROM draws \
             WHERE bucket = ?1 AND start = ?2 AND replica <> ?3",
        )?
        .query_row(key, |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
        })?;
    let turn = db
        .prepare_cached("SELECT turn FROM draws WHERE bucket = ?1 AND start = ?2 AND replica = ?3")?
        .query_row(key, |row| row.get::<_, i64>(0))
        .optional()?;
    Ok(Known {
        others: others.0.cast_unsigned(),
        used_by_others: others.1.cast_unsigned(),
        turn: turn.map_or(0, i64::cast_unsigned),
    })
}

/// A process begins: what those before it had drawn counts as used, for nobody can tell what of it
/// they had not.
pub(super) fn take_over(db: &Connection, now: u64) -> Result<(), Failure> {
    sweep(db, now)?;
    db.execute_batch(
        "CREATE TEMP TABLE ended AS \
             SELECT bucket, start, max(end) AS end, min(sum(total), 4611686018427387904) AS total, \
                    min(sum(used), 4611686018427387904) AS used \
             FROM draws GROUP BY bucket, start; \
         DELETE FROM draws; \
         INSERT INTO draws SELECT bucket, start, end, '', 0, total, used FROM ended; \
         DROP TABLE ended;",
    )?;
    Ok(())
}

/// Forgets periods that are long over.
pub(super) fn sweep(db: &Connection, now: u64) -> Result<(), Failure> {
    db.prepare_cached("DELETE FROM draws WHERE end < ?1")?
        .execute([storable(now.saturating_sub(KEPT))])?;
    Ok(())
}

fn end(draw: &Draw) -> i64 {
    i64::try_from(draw.period.end).unwrap_or(i64::MAX)
}

/// Sums of these stay within what SQLite adds up.
fn storable(units: u64) -> i64 {
    const MOST: u64 = 1 << 53;
    units.min(MOST).cast_signed()
}
