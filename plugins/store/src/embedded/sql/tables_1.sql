-- Numbers of the store itself: the last journal that was folded in, the last version given to
-- a record, and the last notice that was removed.
CREATE TABLE marks (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO marks VALUES ('folded', 0), ('version', 0), ('pruned', 0);

-- What a credential used of one period of its quota. Times are milliseconds since 1970.
CREATE TABLE quota (
    credential TEXT NOT NULL,
    period     INTEGER NOT NULL,
    tokens     INTEGER NOT NULL,
    estimated  INTEGER NOT NULL,
    calls      INTEGER NOT NULL,
    PRIMARY KEY (credential, period)
) WITHOUT ROWID;

-- What a credential used of one model on one day (days since 1970, UTC).
CREATE TABLE usage (
    day         INTEGER NOT NULL,
    credential  TEXT NOT NULL,
    model       TEXT NOT NULL,
    calls       INTEGER NOT NULL,
    input       INTEGER NOT NULL,
    output      INTEGER NOT NULL,
    cache_read  INTEGER NOT NULL,
    cache_write INTEGER NOT NULL,
    reasoning   INTEGER NOT NULL,
    estimated   INTEGER NOT NULL,
    PRIMARY KEY (day, credential, model)
) WITHOUT ROWID;

CREATE TABLE records (
    kind       TEXT NOT NULL,
    key        TEXT NOT NULL,
    value      BLOB NOT NULL,
    version    INTEGER NOT NULL,
    expires_at INTEGER,
    PRIMARY KEY (kind, key)
) WITHOUT ROWID;
CREATE INDEX records_by_end ON records (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE claims (
    name       TEXT PRIMARY KEY,
    holder     TEXT NOT NULL,
    expires_at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE notices (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    topic     TEXT NOT NULL,
    body      BLOB NOT NULL,
    posted_at INTEGER NOT NULL
);
