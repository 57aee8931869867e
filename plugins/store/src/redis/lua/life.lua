-- A server that lives anew, or has taken another's place, may have lost the last notices: who read
-- in its earlier life has missed what was lost. 1 when that is so.
-- KEYS: the floor (nothing at or below this id is kept), the life that it belongs to
-- ARGV: the server's run id
if redis.call('GET', KEYS[2]) == ARGV[1] then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
redis.call('SET', KEYS[1], string.format('%.0f', math.max(now, tonumber(redis.call('GET', KEYS[1])) or 0)))
redis.call('SET', KEYS[2], ARGV[1])
return 1
