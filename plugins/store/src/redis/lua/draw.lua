-- Draws from buckets, and notes what a replica says of them. Answers with units, left and used of
-- each, and with the keys that have many replicas' entries.
-- KEYS: a hash for each bucket and period, all with the same word in braces
-- ARGV: the replica, its lease in ms, how many replicas there are, and ten for each key: start and
-- end of the period, 1 if what is granted comes back, most, turn, total, used, least, need, want
--
-- Numbers are doubles: whole up to 2^53, which is the most that a caller may say of anything. A sum
-- beyond that is rounded, and is beyond any limit either way.
local mine, lease, replicas = '=' .. ARGV[1], tonumber(ARGV[2]), math.max(tonumber(ARGV[3]), 1)
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local MANY = 64
local A_DAY, TEN_YEARS = 86400000, 315360000000

local function whole(number)
  return string.format('%.0f', number)
end

-- An entry is 'turn total used', and of what comes back also until when it is held.
local function parts(entry)
  local turn, total, used, till = string.match(entry, '^(%d+) (%d+) (%d+) ?(%d*)$')
  return tonumber(turn), tonumber(total), tonumber(used), tonumber(till)
end

-- As `Draw::grant` of turnpike-api, to the last unit.
local function grant(left, least, need, want)
  if left < least then return 0 end
  if left <= need then return left end
  local spare = left - need
  spare = (spare - math.fmod(spare, 2 * replicas)) / (2 * replicas)
  return need + math.min(spare, math.max(want - need, 0))
end

-- What comes back: the entries that are held count, the others go. There are no more of them than
-- replicas, and those that ended within a lease.
local function of_running(key, draw)
  local found, others, used, known = redis.call('HGETALL', key), 0, 0, 0
  for at = 1, #found, 2 do
    local turn, total, its_used, till = parts(found[at + 1])
    if found[at] == mine then
      known = turn
    elseif till > now then
      others, used = others + total, used + its_used
    else
      redis.call('HDEL', key, found[at])
    end
  end
  return known, others, used
end

-- What is used up: the sums are kept beside the entries, so that a draw costs the same however many
-- replicas there are, and an entry may go when its replica has ended.
local function of_period(key)
  local found = redis.call('HMGET', key, 'total', 'used', mine)
  local total, used = tonumber(found[1] or 0), tonumber(found[2] or 0)
  if not found[3] then return 0, total, used, 0, 0 end
  local turn, its_total, its_used = parts(found[3])
  return turn, total - its_total, used - its_used, its_total, its_used
end

local answers, crowded = {}, {}
for at, key in ipairs(KEYS) do
  local draw = {}
  for part = 1, 10 do draw[part] = tonumber(ARGV[3 + (at - 1) * 10 + part]) end
  local start, ends, returns, most, turn, total, used, least, need, want = unpack(draw)
  returns = returns == 1

  local read = returns and of_running or of_period
  local known, others, used_by_others, old_total, old_used = read(key)
  local left, units = math.max(most - (others + total), 0), 0
  if turn > known then
    if start <= now and now < ends then units = grant(left, least, need, want) end
    left = left - units
    local entry = whole(turn) .. ' ' .. whole(total + units) .. ' ' .. whole(used)
    if returns then
      redis.call('HSET', key, mine, entry .. ' ' .. whole(now + lease))
      redis.call('PEXPIRE', key, whole(2 * lease))
    else
      -- Redis adds whole numbers beyond 2^53, too.
      redis.call('HINCRBY', key, 'total', whole(total + units - old_total))
      redis.call('HINCRBY', key, 'used', whole(used - old_used))
      redis.call('HSET', key, mine, entry)
      if known == 0 and redis.call('HLEN', key) > MANY + 2 then crowded[#crowded + 1] = key end
      if ends < 9007199254740992 then
        -- Calls may outlast their period.
        redis.call('PEXPIREAT', key, whole(ends + A_DAY))
      else
        redis.call('PEXPIRE', key, whole(TEN_YEARS))
      end
    end
  end
  answers[#answers + 1] = units
  answers[#answers + 1] = left
  answers[#answers + 1] = used + used_by_others
end
return {answers, crowded}
