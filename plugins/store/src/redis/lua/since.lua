-- The notices after an id: where to read on, 1 if something in between is gone, and id, topic and
-- body of each.
-- KEYS: the notices, the floor (nothing at or below this id is kept)
-- ARGV: after which, how many at most
local notices, mark = KEYS[1], KEYS[2]
local after = tonumber(ARGV[1])

local floor = redis.call('GET', mark)
if not floor then
  -- A new life: who read in an earlier one has missed what was lost with it.
  local time = redis.call('TIME')
  floor = string.format('%.0f', time[1] * 1000000 + time[2])
  redis.call('SET', mark, floor)
end
local top = redis.call('XREVRANGE', notices, '+', '-', 'COUNT', 1)[1]
local last = top and string.match(top[1], '^%d+') or floor
if tonumber(floor) > tonumber(last) then last = floor end
-- A place that was never given: in another life of this Redis, or before a fail-over lost it.
if after > tonumber(last) then return {last, 1, {}} end

local found, news = redis.call('XRANGE', notices, '(' .. ARGV[1] .. '-0', '+', 'COUNT', ARGV[2]), {}
for at, entry in ipairs(found) do
  news[at] = {string.match(entry[1], '^%d+'), entry[2][2], entry[2][4]}
end
-- There may be more behind a full page.
if #found == tonumber(ARGV[2]) then last = news[#news][1] end
return {last, after < tonumber(floor) and 1 or 0, news}
