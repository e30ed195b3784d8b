-- append: take orders into their partitions' streams, each at most once.
--
-- KEYS  for each entry: the stream, the key record
-- ARGV  stream_length_max, record_count_max, then for each entry:
--       fingerprint, accepted_at_ms, number of field items, the field items (names and values)
-- Reply for each entry: {0, stream id} new; {1, fingerprint, accepted_at_ms, stream id, seconds until the
--       record lapses or -1} duplicate; {2} full
--
-- Redis does not roll back a script that fails after a write, so everything is read and checked in
-- the first pass. A duplicate is answered with a write too (n counts them): WAIT waits for the
-- writes of its connection, and after a mere read it would confirm what no replica holds.
--
-- Commands of Redis 7.0, replies without RESP3.

local NEW, DUPLICATE, FULL = 0, 1, 2
local HEAD_ITEMS, ENTRY_ITEMS, FIELD_ITEMS_MAX = 2, 3, 32

local call, unpack = redis.call, unpack
local stream_length_max, record_count_max = tonumber(ARGV[1]), tonumber(ARGV[2])
if not stream_length_max or not record_count_max or #KEYS == 0 or #KEYS % 2 ~= 0 then
  return redis.error_reply('ERR append: limits or keys malformed')
end

local entry_count = #KEYS / 2
local records = {}
for entry = 1, entry_count do
  records[entry] = KEYS[2 * entry]
end
-- Nearly always every key is new, and one call for all of them tells.
local has_known = call('EXISTS', unpack(records)) > 0

local record_count = call('DBSIZE')
local lengths = {}  -- by stream, counting what this call will add
local is_added = {}  -- by record, what this call will add
local statuses, offsets = {}, {}
local offset = HEAD_ITEMS

for entry = 1, entry_count do
  local stream, record = KEYS[2 * entry - 1], records[entry]
  local item_count = tonumber(ARGV[offset + ENTRY_ITEMS])
  if not item_count or item_count < 2 or item_count > FIELD_ITEMS_MAX or item_count % 2 ~= 0 then
    return redis.error_reply('ERR append: entry malformed')
  end
  offsets[entry] = offset
  offset = offset + ENTRY_ITEMS + item_count

  local length = lengths[stream] or call('XLEN', stream)
  lengths[stream] = length
  if is_added[record] or (has_known and call('HEXISTS', record, 'f') == 1) then
    statuses[entry] = DUPLICATE
  elseif length >= stream_length_max or record_count >= record_count_max then
    statuses[entry] = FULL
  else
    statuses[entry] = NEW
    is_added[record] = true
    lengths[stream] = length + 1
    record_count = record_count + 1
  end
end
if offset ~= #ARGV then
  return redis.error_reply('ERR append: arguments do not add up')
end
offsets[entry_count + 1] = offset

local results = {}
for entry = 1, entry_count do
  local record, first, status = records[entry], offsets[entry], statuses[entry]
  if status == NEW then
    local id = call('XADD', KEYS[2 * entry - 1], '*',
      unpack(ARGV, first + ENTRY_ITEMS + 1, offsets[entry + 1]))
    call('HSET', record, 'f', ARGV[first + 1], 't', ARGV[first + 2], 'i', id)
    results[entry] = {NEW, id}
  elseif status == DUPLICATE then
    call('HINCRBY', record, 'n', 1)
    local stored = call('HMGET', record, 'f', 't', 'i')
    -- Whoever removes a message lets its record lapse, and removes it only once the books hold it.
    results[entry] = {DUPLICATE, stored[1], stored[2], stored[3], call('TTL', record)}
  else
    results[entry] = {FULL}
  end
end
return results
