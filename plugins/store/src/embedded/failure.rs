//! What can go wrong with the files of a store, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;
use thiserror::Error;
use turnpike_api::StoreError;

/// Why a store could not be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// A file of the store cannot be created, read or written.
    #[error(
        "{path}: {source}; state.path must be in a directory that exists, and that the gateway's user may write to"
    )]
    Files {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is nothing to read.
    #[error("{path}: there is no store; start the gateway once, or correct state.path")]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// Another gateway has it.
    #[error(
        "{path}: another gateway uses this store; stop it, or give this one a state.path of its own"
    )]
    InUse {
        /// The database.
        path: PathBuf,
    },
    /// Another process holds the database for longer than one waits.
    #[error(
        "{path}: another process holds a lock on it; end the program that has the file open, such as a database shell"
    )]
    Busy {
        /// The database.
        path: PathBuf,
    },
    /// It is something else.
    #[error("{path}: this is not a store of the gateway; move it away, or correct state.path")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A newer release wrote it.
    #[error(
        "{path}: a newer release wrote this store (version {found} of its tables, this release knows {known}); install that release again, or move the file away"
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// An older release wrote it, and whoever opens it may not change that.
    #[error(
        "{path}: an older release wrote this store (version {found} of its tables, this release needs {known}); start this release's gateway once"
    )]
    Older {
        /// The database.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// Its contents are broken.
    #[error(
        "{path}: the store is damaged ({detail}); move this file and those whose names begin with its name away, or restore them from a backup; without a backup quotas are counted from nought and logins are lost"
    )]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// Anything else that SQLite reports.
    #[error("{path}: the database failed: {detail}")]
    Database {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        detail: String,
    },
}

impl OpenError {
    pub(super) fn sqlite(path: &Path, error: &rusqlite::Error) -> Self {
        let path = path.to_owned();
        let detail = error.to_string();
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => Self::Foreign { path },
            Some(ErrorCode::DatabaseCorrupt) => Self::Damaged { path, detail },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy { path },
            _ => Self::Database { path, detail },
        }
    }

    pub(super) fn files(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        Self::Files { path, source }
    }
}

/// What stopped a piece of work half-way.
#[derive(Debug, Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("{path}: {source}")]
    Journal { path: PathBuf, source: io::Error },
}

impl Failure {
    pub(super) fn journal(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        Self::Journal { path, source }
    }

    /// Whether only another process was in the way.
    pub(super) fn is_busy(&self) -> bool {
        match self {
            Self::Sqlite(error) => matches!(
                error.sqlite_error_code(),
                Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
            ),
            Self::Open(_) | Self::Journal { .. } => false,
        }
    }

    /// The same for who opens the store. `path` is the database's.
    pub(super) fn opening(self, path: &Path) -> OpenError {
        match self {
            Self::Sqlite(error) => OpenError::sqlite(path, &error),
            Self::Open(error) => error,
            Self::Journal { path, source } => OpenError::Files { path, source },
        }
    }

    /// The same for those who asked. `path` is the database's.
    pub(super) fn told(self, path: &Path) -> StoreError {
        self.opening(path).into()
    }
}

/// For a store that is serving, or is opened again while it serves.
impl From<OpenError> for StoreError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Foreign { .. }
            | OpenError::Newer { .. }
            | OpenError::Older { .. }
            | OpenError::Damaged { .. } => Self::Unreadable(error.to_string()),
            OpenError::Files { .. }
            | OpenError::Missing { .. }
            | OpenError::InUse { .. }
            | OpenError::Busy { .. }
            | OpenError::Database { .. } => Self::Unavailable(error.to_string()),
        }
    }
}
