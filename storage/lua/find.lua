-- find: read one key record and its message, and touch the record.
--
-- KEYS  the stream, the key record
-- Reply {fingerprint, accepted_at_ms, stream id, field items or false}, or nil without a record
--
-- The touch is for the WAIT that follows: it makes what was read wait for the replicas, even when
-- this connection wrote nothing before.

local stream, record = KEYS[1], KEYS[2]
local stored = redis.call('HMGET', record, 'f', 't', 'i')
if not stored[1] or not stored[2] or not stored[3] then
  return false
end
local messages = redis.call('XRANGE', stream, stored[3], stored[3])
redis.call('HINCRBY', record, 'n', 1)
return {stored[1], stored[2], stored[3], messages[1] and messages[1][2] or false}
