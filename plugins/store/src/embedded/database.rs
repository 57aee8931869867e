//! The SQLite file: how it is opened, which tables it has, and its transactions.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use super::failure::{Failure, OpenError};

/// Marks the file as ours: "Tpk1".
const APPLICATION: i64 = 0x5470_6b31;

/// Each step brings the tables from one version to the next. Never change one that was released.
const STEPS: &[&str] = &[
    include_str!("sql/tables_1.sql"),
    include_str!("sql/tables_2.sql"),
    include_str!("sql/tables_3.sql"),
    include_str!("sql/tables_4.sql"),
];

/// The version of the tables this release knows.
pub(super) const KNOWN: i64 = STEPS.len() as i64;

/// How long to wait while another process writes.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a process may do with the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// The gateway: everything, one process at a time.
    Own,
    /// The command line beside it: records and notices.
    Beside,
    /// Look only.
    Read,
}

/// What a transaction does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Intent {
    Read,
    Write,
}

/// The file and a connection to it, which is made anew after a failure: a disk that comes back
/// needs nobody's help.
pub(super) struct Database {
    path: PathBuf,
    access: Access,
    connection: Option<Connection>,
}

impl Database {
    /// Waits for others that make the database, or mend it after a process that was killed: there
    /// SQLite says at once that it is busy.
    #[expect(
        clippy::disallowed_methods,
        reason = "nothing is served yet, and SQLite tells of no event"
    )]
    pub(super) fn open(path: &Path, access: Access) -> Result<Self, OpenError> {
        let began = Instant::now();
        let connection = loop {
            match connect(path, access) {
                Err(OpenError::Busy { .. }) if began.elapsed() < PATIENCE => {
                    thread::sleep(Duration::from_millis(5));
                }
                connected => break connected?,
            }
        };
        if access == Access::Own {
            sound(path, &connection)?;
        }
        Ok(Self {
            path: path.to_owned(),
            access,
            connection: Some(connection),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Does all of `work` or none of it.
    pub(super) fn transact<T>(
        &mut self,
        intent: Intent,
        work: impl FnOnce(&Connection) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => connect(&self.path, self.access)?,
        };
        let done = transaction(&connection, intent, work);
        if done.as_ref().err().is_none_or(Failure::is_busy) {
            self.connection = Some(connection);
        }
        done
    }

    /// Moves what is in the write-ahead log into the file.
    pub(super) fn checkpoint(&mut self) {
        if let Some(connection) = &self.connection
            && let Err(error) =
                connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        {
            // The log is as good as the file: the next one who opens it reads both.
            tracing::debug!(%error, path = %self.path.display(), "no checkpoint");
        }
    }
}

fn transaction<T>(
    connection: &Connection,
    intent: Intent,
    work: impl FnOnce(&Connection) -> Result<T, Failure>,
) -> Result<T, Failure> {
    // A transaction that begins as a writer waits its turn; one that became a writer later would
    // fail at once when another process wrote in between.
    let behavior = match intent {
        Intent::Read => TransactionBehavior::Deferred,
        Intent::Write => TransactionBehavior::Immediate,
    };
    let transaction = Transaction::new_unchecked(connection, behavior)?;
    let value = work(&transaction)?;
    transaction.commit()?;
    Ok(value)
}

fn connect(path: &Path, access: Access) -> Result<Connection, OpenError> {
    match access {
        Access::Own | Access::Beside => create(path)?,
        Access::Read if path.exists() => {}
        Access::Read => {
            return Err(OpenError::Missing {
                path: path.to_owned(),
            });
        }
    }
    let flags = match access {
        Access::Own | Access::Beside => OpenFlags::SQLITE_OPEN_READ_WRITE,
        Access::Read => OpenFlags::SQLITE_OPEN_READ_ONLY,
    } | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let sqlite = |error| OpenError::sqlite(path, &error);
    let connection = Connection::open_with_flags(path, flags).map_err(sqlite)?;
    if access != Access::Read && connection.is_readonly("main").map_err(sqlite)? {
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        return Err(OpenError::files(path, denied));
    }
    settle(&connection, access).map_err(sqlite)?;
    raise(path, &connection, access)?;
    Ok(connection)
}

/// Creates the file, for its owner's eyes only: SQLite gives its other files the same rights.
///
/// A file that exists is not opened here: closing it again would drop SQLite's locks on it.
fn create(path: &Path) -> Result<(), OpenError> {
    let mut options = OpenOptions::new();
    match options.write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(OpenError::files(path, error)),
    }
}

fn settle(connection: &Connection, access: Access) -> rusqlite::Result<()> {
    connection.busy_timeout(PATIENCE)?;
    if access == Access::Read {
        return Ok(());
    }
    // Every commit reaches the disk. The weaker NORMAL may lose the commits since the last
    // checkpoint with the power, and with them folded journals, which are deleted by then.
    connection.pragma_update(None, "synchronous", "FULL")?;
    // What is removed is gone: no bytes of it are left in free pages.
    connection.pragma_update(None, "secure_delete", true)?;
    connection.pragma_update(None, "journal_size_limit", 16 << 20)
}

/// Checks whose file it is, and brings its tables up to this release's.
fn raise(path: &Path, connection: &Connection, access: Access) -> Result<(), OpenError> {
    let sqlite = |error| OpenError::sqlite(path, &error);
    let path = || path.to_owned();
    let found = match version(connection).map_err(sqlite)? {
        Version::Foreign => return Err(OpenError::Foreign { path: path() }),
        Version::Of(found) => found,
    };
    let known = KNOWN;
    if found > known {
        let path = path();
        return Err(OpenError::Newer { path, found, known });
    }
    match access {
        Access::Read if found == 0 => return Err(OpenError::Missing { path: path() }),
        // A gateway of the older release may be running.
        Access::Read | Access::Beside if 0 < found && found < known => {
            let path = path();
            return Err(OpenError::Older { path, found, known });
        }
        Access::Read => return Ok(()),
        Access::Own | Access::Beside => {}
    }
    let mode: String = connection
        .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))
        .map_err(sqlite)?;
    if mode != "wal" {
        return Err(OpenError::Database {
            path: path(),
            detail: "its file system has no shared memory; use a local disk".to_owned(),
        });
    }
    if found < known {
        transaction(connection, Intent::Write, take_steps)
            .map_err(|failure| failure.opening(&path()))?;
    }
    Ok(())
}

enum Version {
    Foreign,
    Of(i64),
}

fn version(connection: &Connection) -> rusqlite::Result<Version> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let tables = "SELECT count(*) FROM sqlite_schema";
    let empty = connection.query_row(tables, [], |row| row.get::<_, i64>(0))? == 0;
    let version = match pragma("application_id")? {
        APPLICATION => Version::Of(pragma("user_version")?),
        0 if empty => Version::Of(0),
        _ => Version::Foreign,
    };
    Ok(version)
}

fn take_steps(connection: &Connection) -> Result<(), Failure> {
    // Asked again: another process may have been here since.
    let Version::Of(found) = version(connection)? else {
        return Ok(());
    };
    for step in STEPS.iter().skip(usize::try_from(found).unwrap_or(0)) {
        connection.execute_batch(step)?;
    }
    connection.pragma_update(None, "application_id", APPLICATION)?;
    connection.pragma_update(None, "user_version", KNOWN)?;
    Ok(())
}

/// Looks at every page once: better now than in the middle of a night.
fn sound(path: &Path, connection: &Connection) -> Result<(), OpenError> {
    let verdict = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0))
        .map_err(|error| OpenError::sqlite(path, &error))?;
    if verdict == "ok" {
        return Ok(());
    }
    Err(OpenError::Damaged {
        path: path.to_owned(),
        detail: verdict.replace('\n', " "),
    })
}
