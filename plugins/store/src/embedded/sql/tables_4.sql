-- Who used what was used. What an older release counted is nobody's, and has no price.
ALTER TABLE usage RENAME TO usage_before;

-- Each is an id, '' = none. A user is a digest: the name is a record, which can be forgotten.
CREATE TABLE payers (
    id       INTEGER PRIMARY KEY,
    tenant   TEXT    NOT NULL,
    team     TEXT    NOT NULL,
    user     TEXT    NOT NULL,
    token    TEXT    NOT NULL,
    last_day INTEGER NOT NULL,  -- with usage
    UNIQUE (tenant, team, user, token)
) STRICT;
INSERT INTO payers
SELECT 1, '', '', '', '', max(day) FROM usage_before HAVING count(*) > 0;

-- What a payer used of one credential and model on one day (days since 1970, UTC).
CREATE TABLE usage (
    day         INTEGER NOT NULL,
    payer       INTEGER NOT NULL,
    credential  TEXT    NOT NULL,
    model       TEXT    NOT NULL,
    calls       INTEGER NOT NULL,
    input       INTEGER NOT NULL,
    output      INTEGER NOT NULL,
    cache_read  INTEGER NOT NULL,
    cache_write INTEGER NOT NULL,
    reasoning   INTEGER NOT NULL,
    estimated   INTEGER NOT NULL,
    cost        INTEGER NOT NULL,  -- millionths of a US dollar
    unpriced    INTEGER NOT NULL,  -- calls without a price
    changed     INTEGER NOT NULL,  -- the journal that was folded into it last
    PRIMARY KEY (day, payer, credential, model)
) STRICT, WITHOUT ROWID;
INSERT INTO usage
SELECT day, 1, credential, model, calls, input, output, cache_read, cache_write, reasoning, estimated,
    0, calls, (SELECT max(value, 1) FROM marks WHERE name = 'folded')
FROM usage_before;
DROP TABLE usage_before;
-- What other replicas have not been told yet.
CREATE INDEX usage_by_change ON usage (day, changed);

-- The days with usage, and the journal that was folded into one last.
CREATE TABLE usage_days (
    day     INTEGER PRIMARY KEY,
    changed INTEGER NOT NULL
) STRICT;
INSERT INTO usage_days SELECT day, max(changed) FROM usage GROUP BY day;

-- What tells this store from those of other replicas.
INSERT INTO marks VALUES ('replica', random() & 0x7fffffffffffffff);
