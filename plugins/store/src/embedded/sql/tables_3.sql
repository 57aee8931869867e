-- What was drawn from limits. One row a process that draws; '' = those that ended, whose part counts
-- as used. Limits of running calls have no rows: the calls ended with their process.
CREATE TABLE draws (
    bucket  TEXT    NOT NULL,
    start   INTEGER NOT NULL,  -- of the period, milliseconds since 1970; its end likewise
    end     INTEGER NOT NULL,
    replica TEXT    NOT NULL,
    turn    INTEGER NOT NULL,  -- of the last draw
    total   INTEGER NOT NULL,  -- granted and not given back, and used beyond that
    used    INTEGER NOT NULL,  -- of these: by calls that are over
    PRIMARY KEY (bucket, start, replica)
) STRICT, WITHOUT ROWID;
CREATE INDEX draws_by_end ON draws (end);
