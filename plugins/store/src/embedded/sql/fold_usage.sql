-- A sum that would pass the largest number stays at it: SQLite would go on in floating point.
INSERT INTO usage (day, credential, model, calls, input, output, cache_read, cache_write, reasoning, estimated)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
ON CONFLICT (day, credential, model) DO UPDATE SET
    calls = min(usage.calls, 9223372036854775807 - excluded.calls) + excluded.calls,
    input = min(usage.input, 9223372036854775807 - excluded.input) + excluded.input,
    output = min(usage.output, 9223372036854775807 - excluded.output) + excluded.output,
    cache_read = min(usage.cache_read, 9223372036854775807 - excluded.cache_read) + excluded.cache_read,
    cache_write = min(usage.cache_write, 9223372036854775807 - excluded.cache_write) + excluded.cache_write,
    reasoning = min(usage.reasoning, 9223372036854775807 - excluded.reasoning) + excluded.reasoning,
    estimated = min(usage.estimated, 9223372036854775807 - excluded.estimated) + excluded.estimated
