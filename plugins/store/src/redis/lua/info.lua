-- What the server that has this key says of itself.
-- KEYS: any key
return redis.call('INFO')
