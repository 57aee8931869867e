//! Folding journals into the tables, each entry once.

use std::collections::BTreeSet;
use std::io::{self, Read, Seek};

use hashbrown::HashMap;
use rusqlite::{CachedStatement, Connection, params};
use turnpike_api::Payer;

use super::failure::Failure;
use super::journal::Segment;
use super::line;
use super::sums::{Key, Sums};

/// A journal is read in pieces of this size, or of its longest line.
const BLOCK: usize = 1 << 16;

/// Adds up the entries of a journal. Answers with how many lines were damaged and passed over:
/// those that were being written when the power or the disk failed.
pub(super) fn read(segment: &Segment, sums: &mut Sums) -> Result<u64, Failure> {
    let failed = |error| Failure::journal(&segment.path, error);
    let mut file = &segment.file;
    file.rewind().map_err(failed)?;
    let mut damaged = 0;
    let mut add = |line: &[u8]| match line::decode(line) {
        Some(entry) => sums.add(&entry),
        None if line.is_empty() => {}
        None => damaged += 1,
    };
    let (mut read, mut filled) = (vec![0; BLOCK], 0);
    loop {
        let more = match file.read(&mut read[filled..]) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            more => more.map_err(failed)?,
        };
        filled += more;
        let mut begin = 0;
        for end in memchr::memchr_iter(b'\n', &read[..filled]) {
            add(&read[begin..end]);
            begin = end + 1;
        }
        read.copy_within(begin..filled, 0);
        filled -= begin;
        match more {
            0 => break add(&read[..filled]),
            _ if filled == read.len() => read.resize(2 * filled, 0),
            _ => {}
        }
    }
    Ok(damaged)
}

/// Adds up the entries of those `segments` that the tables do not hold.
pub(super) fn unfolded(db: &Connection, segments: &[Segment]) -> Result<Sums, Failure> {
    let mut sums = Sums::default();
    if !segments.is_empty() {
        let folded = folded(db)?;
        for segment in segments.iter().filter(|segment| segment.seq > folded) {
            read(segment, &mut sums)?;
        }
    }
    Ok(sums)
}

/// Adds `sums` to the tables, and with the same commit notes that they hold the journals up to
/// `seq`. Nothing is done when they did already: after a commit that failed one cannot know.
pub(super) fn write(db: &Connection, sums: &Sums, seq: u64) -> Result<(), Failure> {
    if folded(db)? >= seq {
        return Ok(());
    }
    write_quota(db, sums)?;
    write_usage(db, sums, seq)?;
    db.prepare_cached("UPDATE marks SET value = ?1 WHERE name = 'folded'")?
        .execute([number(seq)])?;
    Ok(())
}

/// The number of the last journal the tables hold.
pub(super) fn folded(db: &Connection) -> rusqlite::Result<u64> {
    db.prepare_cached("SELECT value FROM marks WHERE name = 'folded'")?
        .query_row([], |row| row.get(0).map(i64::cast_unsigned))
}

fn write_quota(db: &Connection, sums: &Sums) -> rusqlite::Result<()> {
    let mut quota = db.prepare_cached(include_str!("sql/fold_quota.sql"))?;
    for (credential, period, spent) in sums.spent() {
        quota.execute(params![
            credential,
            period.cast_signed(),
            number(spent.tokens),
            number(spent.estimated),
            number(spent.calls),
        ])?;
    }
    Ok(())
}

fn write_usage<'d>(db: &'d Connection, sums: &'d Sums, seq: u64) -> rusqlite::Result<()> {
    let mut usage = db.prepare_cached(include_str!("sql/fold_usage.sql"))?;
    let (mut payers, mut days) = (Payers::new(db)?, BTreeSet::new());
    for (key, of) in sums.usage() {
        days.insert(key.day);
        usage.execute(params![
            key.day,
            payers.number(&key)?,
            key.credential(),
            key.model(),
            number(of.calls),
            number(of.usage.input),
            number(of.usage.output),
            number(of.usage.cache_read),
            number(of.usage.cache_write),
            number(of.usage.reasoning),
            number(of.estimated),
            number(of.cost),
            number(of.unpriced),
            number(seq),
        ])?;
    }
    let mut changed =
        db.prepare_cached("REPLACE INTO usage_days (day, changed) VALUES (?1, ?2)")?;
    for day in days {
        changed.execute((day, number(seq)))?;
    }
    Ok(())
}

/// The numbers of payers. One who calls much has many keys: each is asked for once.
struct Payers<'d> {
    known: HashMap<(u32, Payer<'d>), i64>,
    statement: CachedStatement<'d>,
}

impl<'d> Payers<'d> {
    fn new(db: &'d Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            known: HashMap::new(),
            statement: db.prepare_cached(include_str!("sql/fold_payer.sql"))?,
        })
    }

    fn number(&mut self, key: &Key<'d>) -> rusqlite::Result<i64> {
        let (day, payer) = (key.day, key.payer());
        if let Some(number) = self.known.get(&(day, payer)) {
            return Ok(*number);
        }
        let Payer {
            tenant,
            team,
            user,
            token,
        } = payer;
        let key = (tenant, team, user, token, day);
        let number = self.statement.query_row(key, |row| row.get(0))?;
        self.known.insert((day, payer), number);
        Ok(number)
    }
}

/// SQLite's numbers end at half of ours.
fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
