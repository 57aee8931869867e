-- One page of a kind's records: where to go on ('0' at the end), and key, version and value of each.
-- A record may come twice; one that is there all the while comes.
-- KEYS: the kind's index, what the names of its records begin with (the same slot of a cluster)
-- ARGV: where to go on, about how many
local page = redis.call('ZSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
local found, records = page[2], {}
for at = 1, #found, 2 do
  local record = redis.call('HMGET', KEYS[2] .. found[at], 'version', 'value')
  if record[1] then
    records[#records + 1] = {found[at], record[1], record[2]}
  end
end
return {page[1], records}
