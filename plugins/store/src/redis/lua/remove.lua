-- Removes a record; 0 when there was none.
-- KEYS: the record, the kind's index
-- ARGV: the key
redis.call('ZREM', KEYS[2], ARGV[1])
return redis.call('DEL', KEYS[1])
