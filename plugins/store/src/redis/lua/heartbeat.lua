-- A replica is alive, or ends where its lease is nought. Answers with the time in ms, how many are, this life of the Redis, and 1 while
-- what was known in an earlier one is not to be granted again.
-- KEYS: the replicas by when they were last heard of, the life (id, since, lost)
-- ARGV: the replica, its lease in ms, the life it knows or '', another life's id, in case
local replicas, life = KEYS[1], KEYS[2]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lease = tonumber(ARGV[2])

-- In milliseconds: after as long as this, all have connected again and said what they have.
local SETTLES = 3000
local AN_HOUR = 3600000

local found = redis.call('HMGET', life, 'id', 'since', 'lost')
local id, since, lost = found[1], tonumber(found[2]), found[3]
if not id then
  id, since = ARGV[4], now
  redis.call('HSET', life, 'id', id, 'since', string.format('%.0f', since))
end
local settles = now < since + SETTLES
-- Somebody knows an earlier life: what it and others had then, this Redis does not know.
if settles and ARGV[3] ~= '' and ARGV[3] ~= id and not lost then
  lost = '1'
  redis.call('HSET', life, 'lost', lost)
end

if lease == 0 then
  redis.call('ZREM', replicas, ARGV[1])
else
  redis.call('ZADD', replicas, string.format('%.0f', now), ARGV[1])
end
redis.call('ZREMRANGEBYSCORE', replicas, '-inf', '(' .. string.format('%.0f', now - math.max(AN_HOUR, lease)))
redis.call('PEXPIRE', replicas, string.format('%.0f', math.max(AN_HOUR, lease)))
local alive = redis.call('ZCOUNT', replicas, string.format('%.0f', now - lease), '+inf')
return {now, alive, id, settles and lost and 1 or 0}
