-- Removes the entries of replicas that have ended; what they had is in the sums. One that is heard
-- of again after it counted as ended says all it had anew, and that counts twice: never too little.
-- KEYS: a hash for each bucket and period
-- ARGV: the replicas that are alive
local alive = {total = true, used = true}
for _, replica in ipairs(ARGV) do alive['=' .. replica] = true end
local removed = 0
for _, key in ipairs(KEYS) do
  for _, field in ipairs(redis.call('HKEYS', key)) do
    if not alive[field] then removed = removed + redis.call('HDEL', key, field) end
  end
end
return removed
