-- Writes totals of a replica's day over those of before.
-- KEYS: the hash
-- ARGV: how long it is kept from now on, in ms, then each key and its totals
redis.call('HSET', KEYS[1], unpack(ARGV, 2))
redis.call('PEXPIRE', KEYS[1], ARGV[1])
