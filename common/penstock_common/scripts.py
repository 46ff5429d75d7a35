"""The Lua scripts: each is one atomic step on one shard's keys. Redis 6.2 and Valkey run them.

`queue id` in replies is made of the shard's incarnation: it changes when Redis loses its data, and
tells clients to send again what was queued but not committed.
"""

from __future__ import annotations

__all__ = [
    "ACQUIRE", "ADVANCE", "APPEND", "APPEND_ROWS", "COMMIT", "LOOK", "RELEASE", "RENEW", "REPLAY",
    "SIGN", "WAITING",
]  # fmt: skip

# A full Redis refuses a script whose first write could take memory. Workers are what empties it, so
# their scripts begin with a write that takes none.

_INCARNATION = """
local incarnation = redis.call('GET', KEYS[4])
if not incarnation then
  incarnation = ARGV[1]
  redis.call('SET', KEYS[4], incarnation)
end
"""

# A number that comes again must bring the same bytes. What the script cannot compare by itself, it
# hands to the gateway: the queued batch if its bytes differ (perhaps only in how they are
# compressed), the digests of what is committed.
# KEYS: stream, seen, committed, incarnation, dead marks, digests
# ARGV: incarnation to use if there is none, writer key, seq, batch, received (µs)
# -> {1 added | 0 repeated | 2 queued with other bytes | 3 committed, committed or false,
#     incarnation, dead marks or false, the queued batch (2) or the writer's digests or false (3)}
APPEND = (
    _INCARNATION
    + """
local committed = redis.call('HGET', KEYS[3], ARGV[2])
local dead = redis.call('HGET', KEYS[5], ARGV[2])
if committed and tonumber(ARGV[3]) <= tonumber(committed) then
  return {3, committed, incarnation, dead, redis.call('HGET', KEYS[6], ARGV[2])}
end
local field = ARGV[3] .. '/' .. ARGV[2]
local id = redis.call('HGET', KEYS[2], field)
local queued = id and redis.call('XRANGE', KEYS[1], id, id)[1]
if queued then
  local fields = queued[2]
  for i = 1, #fields, 2 do
    if fields[i] == 'b' and fields[i + 1] ~= ARGV[4] then
      return {2, committed, incarnation, dead, fields[i + 1]}
    end
  end
  return {0, committed, incarnation, dead, false}
end
id = redis.call('XADD', KEYS[1], '*', 'w', ARGV[2], 's', ARGV[3], 'b', ARGV[4], 't', ARGV[5])
redis.call('HSET', KEYS[2], field, id)
return {1, committed, incarnation, dead, false}
"""
)

# JSON rows have no writer of their own: the queue numbers them. Their writer is named after the
# incarnation, so numbers that start again after a loss of Redis cannot meet old ones.
# KEYS: stream, seen, committed, incarnation, dead marks, http numbers, idempotency key
# ARGV: incarnation, run path, batch, received (µs), digest of the request ('' = no key), ttl (s)
# -> {1 added | 0 repeated | 2 the key was used for another request, committed, incarnation,
#     dead marks or false, seq}
APPEND_ROWS = (
    _INCARNATION
    + """
local writer = ARGV[2] .. '/http-' .. incarnation
local committed = redis.call('HGET', KEYS[3], writer)
local dead = redis.call('HGET', KEYS[5], writer)
if ARGV[5] ~= '' then
  local known = redis.call('GET', KEYS[7])
  if known then
    local seq, digest = string.match(known, '(%d+) (.*)')
    if digest ~= ARGV[5] then return {2, committed, incarnation, dead, seq} end
    return {0, committed, incarnation, dead, seq}
  end
end
local seq = tostring(redis.call('HINCRBY', KEYS[6], ARGV[2], 1))
local id = redis.call('XADD', KEYS[1], '*', 'w', writer, 's', seq, 'b', ARGV[3], 't', ARGV[4])
redis.call('HSET', KEYS[2], seq .. '/' .. writer, id)
if ARGV[5] ~= '' then
  redis.call('SET', KEYS[7], seq .. ' ' .. ARGV[5], 'EX', ARGV[6])
end
return {1, committed, incarnation, dead, seq}
"""
)

# KEYS: workers    ARGV: worker, now (s), time after which the others count as gone (s)
# -> how many are alive
SIGN = """
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[3])
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
return redis.call('ZCARD', KEYS[1])
"""

# Epochs never repeat, even if Redis forgot them: they are at least the time in seconds. A worker that
# was started again under its old name takes its shards back at once, under a new epoch.
# KEYS: lease, epoch, tried    ARGV: worker, time to live (ms), now (s)
# -> {epoch, or 0 if owned; owners in a row before this one that died without a commit}
ACQUIRE = """
local lease = redis.call('GET', KEYS[1])
if lease and string.sub(lease, 1, #ARGV[1] + 1) ~= ARGV[1] .. ':' then return {0, 0} end
local epoch = math.max(tonumber(redis.call('GET', KEYS[2]) or '0') + 1, tonumber(ARGV[3]))
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[2], string.format('%.0f', epoch))
redis.call('SET', KEYS[1], ARGV[1] .. ':' .. string.format('%.0f', epoch), 'PX', ARGV[2])
return {epoch, redis.call('INCR', KEYS[3]) - 1}
"""

# KEYS: lease    ARGV: owner (`worker:epoch`), time to live (ms)    -> 1 if still owned
RENEW = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
"""

# KEYS: lease, tried    ARGV: owner
RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1], KEYS[2]) end
return 1
"""

# Marks up, entries out, dead letters kept: all or nothing, and only by the owner. Digests are kept of
# a writer's last 64 batches. A letter that says `conflict` is a second content under a number that
# has been stored, one that says `no room:` is beyond a bound: nothing is wrong with the shard then, so
# it is not counted.
# KEYS: lease, stream, seen, committed, failures, dead, digests, dead marks, settled, dead at, tried
# ARGV: owner, number of marks, (writer key, mark, its dead numbers, new digests)…,
#       number of entries, (id, seen field)…, number of dead letters, (id, reason)…
# -> 1, or 0 if the lease has gone to another worker
COMMIT = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('HDEL', KEYS[3], '')
local at = 3
local has_dead = redis.call('EXISTS', KEYS[8]) == 1
for _ = 1, tonumber(ARGV[2]) do
  local writer, dead, digests = ARGV[at], ARGV[at + 2], ARGV[at + 3]
  redis.call('HSET', KEYS[4], writer, ARGV[at + 1])
  if dead ~= '' then
    redis.call('HSET', KEYS[8], writer, dead)
  elseif has_dead then
    redis.call('HDEL', KEYS[8], writer)
  end
  if digests ~= '' then
    local known = redis.call('HGET', KEYS[7], writer)
    local text = known and known .. ';' .. digests or digests
    local _, count = string.gsub(text, ';', ';')
    local from = 1
    for _ = 64, count do from = string.find(text, ';', from, true) + 1 end
    redis.call('HSET', KEYS[7], writer, string.sub(text, from))
  end
  at = at + 4
end
local entries, first = tonumber(ARGV[at]), at + 1
local settled = redis.call('INCRBY', KEYS[9], entries)
redis.call('DEL', KEYS[11])
local letters = first + 2 * entries
for i = 1, tonumber(ARGV[letters]) do
  local id, reason = ARGV[letters + 2 * i - 1], ARGV[letters + 2 * i]
  local entry = redis.call('XRANGE', KEYS[2], id, id)[1]
  if entry then
    local fields = entry[2]
    fields[#fields + 1] = 'reason'
    fields[#fields + 1] = reason
    redis.call('XADD', KEYS[6], '*', unpack(fields))
    if reason ~= 'conflict' and string.sub(reason, 1, 8) ~= 'no room:' then
      redis.call('LPUSH', KEYS[10], string.format('%.0f', settled))
      redis.call('LTRIM', KEYS[10], 0, 63)
    end
  end
end
local failed = redis.call('EXISTS', KEYS[5]) == 1
for from = 0, entries - 1, 1000 do
  local ids, fields = {}, {}
  for i = from, math.min(from + 1000, entries) - 1 do
    ids[#ids + 1] = ARGV[first + 2 * i]
    fields[#fields + 1] = ARGV[first + 2 * i + 1]
  end
  redis.call('XDEL', KEYS[2], unpack(ids))
  redis.call('HDEL', KEYS[3], unpack(fields))
  if failed then redis.call('HDEL', KEYS[5], unpack(ids)) end
end
return 1
"""

# A dead letter back into its stream, marked so that the worker takes it though its number is dead.
# KEYS: dead, stream    ARGV: id    -> id of the new entry, or false if there is no such letter
REPLAY = """
local letter = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1]
if not letter then return false end
local fields = {}
for i = 1, #letter[2], 2 do
  local name = letter[2][i]
  if name ~= 'reason' and name ~= 'r' then
    fields[#fields + 1] = name
    fields[#fields + 1] = letter[2][i + 1]
  end
end
fields[#fields + 1] = 'r'
fields[#fields + 1] = '1'
local id = redis.call('XADD', KEYS[2], '*', unpack(fields))
redis.call('XDEL', KEYS[1], ARGV[1])
return id
"""

# The clock only goes forward.
# KEYS: clock    ARGV: time (µs)
ADVANCE = """
local known = redis.call('GET', KEYS[1])
if known and tonumber(known) >= tonumber(ARGV[1]) then return 0 end
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[1], ARGV[1])
return 1
"""

# What a shard's queue looks like, without moving any batch.
# KEYS: stream, lease
# -> {id of the oldest entry or false, owner or false}
WAITING = """
local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
return {first and first[1] or false, redis.call('GET', KEYS[2])}
"""

# KEYS: stream, dead, lease, incarnation
# -> {entries, bytes or false, id of the first entry or false, dead letters, 1 if owned,
#     incarnation or false}
LOOK = """
local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
return {
  redis.call('XLEN', KEYS[1]),
  redis.call('MEMORY', 'USAGE', KEYS[1]) or false,
  first and first[1] or false,
  redis.call('XLEN', KEYS[2]),
  redis.call('EXISTS', KEYS[3]),
  redis.call('GET', KEYS[4])
}
"""
