-- Writes a record if what is expected is so, and answers with its version; nil when it is not.
-- KEYS: the record, the kind's index, the kind's last version
-- ARGV: the key, the value, its time to live in ms or '', what is expected: '*', '-' or a version
local record, index, last = KEYS[1], KEYS[2], KEYS[3]
local key, value, ttl, expected = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

local found = redis.call('HGET', record, 'version')
if expected == '-' then
  if found then return false end
elseif expected ~= '*' and found ~= expected then
  return false
end

-- The time, so that a Redis that lost everything gives no version twice.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local version = math.max(now, (tonumber(redis.call('GET', last)) or 0) + 1)
version = string.format('%.0f', version)

-- The first writing may be refused for want of memory; those behind it are not.
redis.call('SET', last, version)
redis.call('HSET', record, 'value', value, 'version', version)

local now_ms = math.floor(now / 1000)
-- What has ended leaves the index with the next writing, a hundred at a time.
local ended = redis.call('ZRANGEBYSCORE', index, '-inf', '(' .. string.format('%.0f', now_ms), 'LIMIT', 0, 100)
if #ended > 0 then redis.call('ZREM', index, unpack(ended)) end

if ttl == '' then
  redis.call('PERSIST', record)
  redis.call('ZADD', index, '+inf', key)
  redis.call('PERSIST', index)
  return version
end
local ends = string.format('%.0f', now_ms + ttl)
-- The index lasts as long as the record that lasts longest: -2 is no index, -1 is for ever.
local lasts = redis.call('PTTL', index)
redis.call('ZADD', index, ends, key)
redis.call('PEXPIREAT', record, ends)
if lasts == -2 or (lasts >= 0 and lasts < tonumber(ttl)) then
  redis.call('PEXPIREAT', index, ends)
end
return version
