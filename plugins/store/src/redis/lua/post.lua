-- Posts a notice and answers with its id: the time in microseconds, or the last one's plus one.
-- KEYS: the notices, the floor (nothing at or below this id is kept)
-- ARGV: the topic, the body, how many are kept however old, for how many microseconds each is
local notices, mark = KEYS[1], KEYS[2]
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local floor = redis.call('GET', mark)
if not floor then
  -- A new life: who read in an earlier one has missed what was lost with it.
  floor = string.format('%.0f', now)
  redis.call('SET', mark, floor)
end
local top = redis.call('XREVRANGE', notices, '+', '-', 'COUNT', 1)[1]
local last = math.max(tonumber(top and string.match(top[1], '^%d+') or 0), tonumber(floor))
local id = string.format('%.0f', math.max(now, last + 1))
redis.call('XADD', notices, id .. '-0', 'topic', ARGV[1], 'body', ARGV[2])

if redis.call('XLEN', notices) > tonumber(ARGV[3]) then
  local old = string.format('%.0f', now - ARGV[4])
  local gone = redis.call('XREVRANGE', notices, '(' .. old .. '-0', '-', 'COUNT', 1)[1]
  if gone then
    redis.call('SET', mark, string.match(gone[1], '^%d+'))
    redis.call('XTRIM', notices, 'MINID', old .. '-0')
  end
end
return id
