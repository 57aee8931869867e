-- Takes a claim that is free or its holder's already; 1 when the holder has it now.
-- KEYS: the claim
-- ARGV: the holder, its time to live in ms
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
return 1
