-- A sum that would pass the largest number stays at it: SQLite would go on in floating point.
INSERT INTO quota (credential, period, tokens, estimated, calls)
VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT (credential, period) DO UPDATE SET
    tokens = min(quota.tokens, 9223372036854775807 - excluded.tokens) + excluded.tokens,
    estimated = min(quota.estimated, 9223372036854775807 - excluded.estimated) + excluded.estimated,
    calls = min(quota.calls, 9223372036854775807 - excluded.calls) + excluded.calls
