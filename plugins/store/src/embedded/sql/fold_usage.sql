-- A sum that would pass the largest number stays at it: SQLite would go on in floating point.
INSERT INTO usage (day, payer, credential, model, calls, input, output, cache_read, cache_write, reasoning, estimated,
    cost, unpriced, changed)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)
ON CONFLICT (day, payer, credential, model) DO UPDATE SET
    calls = min(usage.calls, 9223372036854775807 - excluded.calls) + excluded.calls,
    input = min(usage.input, 9223372036854775807 - excluded.input) + excluded.input,
    output = min(usage.output, 9223372036854775807 - excluded.output) + excluded.output,
    cache_read = min(usage.cache_read, 9223372036854775807 - excluded.cache_read) + excluded.cache_read,
    cache_write = min(usage.cache_write, 9223372036854775807 - excluded.cache_write) + excluded.cache_write,
    reasoning = min(usage.reasoning, 9223372036854775807 - excluded.reasoning) + excluded.reasoning,
    estimated = min(usage.estimated, 9223372036854775807 - excluded.estimated) + excluded.estimated,
    cost = min(usage.cost, 9223372036854775807 - excluded.cost) + excluded.cost,
    unpriced = min(usage.unpriced, 9223372036854775807 - excluded.unpriced) + excluded.unpriced,
    changed = excluded.changed
