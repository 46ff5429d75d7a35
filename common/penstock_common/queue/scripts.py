"""The Lua scripts of the queue: each is one atomic step on one shard's keys. Redis 6.2 and Valkey run
them. Deduping repeats, dead letters and parking are done here.

The `queue` id in replies contains the shard's incarnation: it changes when Redis loses its data, and
makes clients send again what was queued but not committed.
"""

from __future__ import annotations

from string import Template

from penstock_common.queue.entries import NAMES

__all__ = [
    "ADVANCE", "APPEND", "APPEND_ROWS", "COMMIT", "LOOK", "PARK", "READ", "REPLAY", "UNPARK",
    "WAITING",
]  # fmt: skip


def _with_names(script: str) -> str:
    """The script with the names of an entry's fields for `$writer`, `$seq` …"""
    return Template(script).substitute(NAMES)


# A full Redis refuses a script whose first write could take memory. Workers empty it, so their
# scripts begin with a write that takes none.

_INCARNATION = """
local incarnation = redis.call('GET', KEYS[4])
if not incarnation then
  incarnation = ARGV[1]
  redis.call('SET', KEYS[4], incarnation)
end
"""

# Where a new batch of this writer goes. A parked writer's batches go to the shard's parked stream, as
# long as they fit. An entry's place in `pending` is its id, prefixed with `p` if it is parked. Each
# parked entry is charged an overhead, so that 0 bytes means that there is none.
_PLACE = """
local function place(stream, parked, sizes, writer, batch)
  local size = redis.call('HGET', sizes, writer)
  if not size then return stream, '' end
  local new = #batch + 256
  local total = redis.call('HGET', sizes, '') or '0'
  if tonumber(size) + new > 67108864 or tonumber(total) + new > 268435456 then return nil end
  redis.call('HINCRBY', sizes, writer, new)
  redis.call('HINCRBY', sizes, '', new)
  return parked, 'p'
end
local function add(stream, writer, seq, batch, received, bytes, elements, began)
  if bytes == '' then
    return redis.call('XADD', stream, '*', '$writer', writer, '$seq', seq, '$raw', batch,
      '$received', received)
  end
  if began then
    return redis.call('XADD', stream, '*', '$writer', writer, '$seq', seq, '$raw', batch,
      '$received', received, '$decoded', bytes, '$elements', elements, '$began', began)
  end
  return redis.call('XADD', stream, '*', '$writer', writer, '$seq', seq, '$raw', batch,
    '$received', received, '$decoded', bytes, '$elements', elements)
end
"""

# Dedupe: a repeated number must have the same bytes. What the script cannot compare itself, it returns
# to the gateway: the queued batch if its bytes differ (perhaps only by compression), or the digests of
# committed batches. A dead number counts as repeated, and is not retried.
# KEYS: stream, pending, committed, incarnation, dead seqs, digests, parked, parked bytes
# ARGV: incarnation to use if there is none, writer key, seq, batch, received (µs), decoded bytes or
#       '', elements, when the writer began (µs) if that is known
# -> {1 added | 0 repeated | 2 queued with other bytes | 3 committed | 4 no room for a parked writer,
#     committed or false, incarnation, dead seqs or false,
#     the queued batch (2) or the writer's digests or false (3)}
APPEND = _with_names(
    _INCARNATION
    + _PLACE
    + """
local committed = redis.call('HGET', KEYS[3], ARGV[2])
local dead = redis.call('HGET', KEYS[5], ARGV[2])
if committed and tonumber(ARGV[3]) <= tonumber(committed) then
  return {3, committed, incarnation, dead, redis.call('HGET', KEYS[6], ARGV[2])}
end
if dead and string.find(',' .. dead .. ',', ',' .. ARGV[3] .. ',', 1, true) then
  return {0, committed, incarnation, dead, false}
end
local field = ARGV[3] .. '/' .. ARGV[2]
local id, held_in = redis.call('HGET', KEYS[2], field), KEYS[1]
if id and string.sub(id, 1, 1) == 'p' then id, held_in = string.sub(id, 2), KEYS[7] end
local queued = id and redis.call('XRANGE', held_in, id, id)[1]
if queued then
  local fields = queued[2]
  for i = 1, #fields, 2 do
    if fields[i] == '$raw' and fields[i + 1] ~= ARGV[4] then
      return {2, committed, incarnation, dead, fields[i + 1]}
    end
  end
  return {0, committed, incarnation, dead, false}
end
local stream, prefix = place(KEYS[1], KEYS[7], KEYS[8], ARGV[2], ARGV[4])
if not stream then return {4, committed, incarnation, dead, false} end
id = add(stream, ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8])
redis.call('HSET', KEYS[2], field, prefix .. id)
return {1, committed, incarnation, dead, false}
"""
)

# JSON rows have no writer of their own: the queue numbers them. Their writer is named after the
# incarnation, so that numbers that start over after Redis lost its data cannot collide with old ones.
# KEYS: stream, pending, committed, incarnation, dead seqs, http numbers, idempotency key, parked,
#       parked bytes
# ARGV: incarnation, run path, batch, received (µs), digest of the request ('' = no key), ttl (s),
#       decoded bytes or '', elements
# -> {1 added | 0 repeated | 2 the key was used for another request | 4 no room for a parked writer,
#     committed, incarnation, dead seqs or false, seq}
APPEND_ROWS = _with_names(
    _INCARNATION
    + _PLACE
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
local stream, prefix = place(KEYS[1], KEYS[8], KEYS[9], writer, ARGV[3])
if not stream then return {4, committed, incarnation, dead, '0'} end
local seq = tostring(redis.call('HINCRBY', KEYS[6], ARGV[2], 1))
local id = add(stream, writer, seq, ARGV[3], ARGV[4], ARGV[7], ARGV[8])
redis.call('HSET', KEYS[2], seq .. '/' .. writer, prefix .. id)
if ARGV[5] ~= '' then
  redis.call('SET', KEYS[7], seq .. ' ' .. ARGV[5], 'EX', ARGV[6])
end
return {1, committed, incarnation, dead, seq}
"""
)

# Entries after a place in the stream, until one would exceed a limit; at least one, if asked for. If
# the decoded size is not given, the size of the entry is used. Entries are walked in small steps: a
# step of thousands could be gigabytes.
# KEYS: stream
# ARGV: start, at least (0 or 1), and at most: entries, their bytes, decoded bytes, elements;
#       the only writer to read or '', and what is passed over: writers and ids…
# -> {entries, id of the last one read or passed over, or false, 1 if more may follow}
READ = _with_names("""
local passed = {}
for i = 8, #ARGV do passed[ARGV[i]] = true end
local only, most = ARGV[7], tonumber(ARGV[3])
local bytes, decoded, elements = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local least, start, step, last = tonumber(ARGV[2]), ARGV[1], 1, false
local entries, walked, count = {}, 0, 0
while true do
  local found = redis.call('XRANGE', KEYS[1], start, '+', 'COUNT', step)
  for _, entry in ipairs(found) do
    local fields = entry[2]
    local writer, size, n, e = '', 0, nil, nil
    if fields[1] == '$writer' and fields[5] == '$raw' and fields[9] == '$decoded' then
      -- As it was added. Looking at every field takes longer than all the rest.
      writer, size, n, e = fields[2], #fields[6], tonumber(fields[10]), tonumber(fields[12])
    else
      for i = 1, #fields, 2 do
        local name, value = fields[i], fields[i + 1]
        if name == '$writer' then writer = value
        elseif name == '$raw' then size = #value
        elseif name == '$decoded' then n = tonumber(value)
        elseif name == '$elements' then e = tonumber(value) end
      end
    end
    if not passed[writer] and not passed[entry[1]] and (only == '' or only == writer) then
      n, e = n or size, e or 0
      if #entries >= least and (size > bytes or n > decoded or e > elements) then
        return {entries, last, 1}
      end
      entries[#entries + 1] = entry
      bytes, decoded, elements = bytes - size, decoded - n, elements - e
      if #entries >= most then return {entries, entry[1], 1} end
    end
    last, walked, count = entry[1], walked + size, count + 1
  end
  if #found < step then return {entries, last, 0} end
  if walked > 67108864 then return {entries, last, 1} end
  start = '(' .. last
  step = math.max(1, math.min(256, math.floor(math.max(0, bytes) * count / math.max(1, walked))))
end
""")

# The number and the charge of a parked entry: see `place`.
_CHARGE = """
local function charge(fields)
  local seq, size = '', 256
  for i = 1, #fields, 2 do
    if fields[i] == '$seq' then seq = fields[i + 1]
    elseif fields[i] == '$raw' then size = size + #fields[i + 1] end
  end
  return seq, size
end
"""

# Moves a writer's entries to the parked stream; its next batches follow them there.
# KEYS: lease, stream, pending, failures, parked, parked bytes, parked why
# ARGV: owner, writer key, when (µs), why, ids…
# -> 1, or 0 if the lease has gone to another worker
PARK = _with_names(
    _CHARGE
    + """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('HDEL', KEYS[3], '')
local writer, total = ARGV[2], 0
for i = 5, #ARGV do
  local entry = redis.call('XRANGE', KEYS[2], ARGV[i], ARGV[i])[1]
  if entry then
    local fields = entry[2]
    local seq, size = charge(fields)
    local id = redis.call('XADD', KEYS[5], '*', unpack(fields))
    redis.call('XDEL', KEYS[2], ARGV[i])
    redis.call('HDEL', KEYS[4], ARGV[i])
    redis.call('HSET', KEYS[3], seq .. '/' .. writer, 'p' .. id)
    total = total + size
  end
end
redis.call('HINCRBY', KEYS[6], writer, total)
redis.call('HINCRBY', KEYS[6], '', total)
redis.call('HSETNX', KEYS[7], writer, ARGV[3] .. ' ' .. ARGV[4])
return 1
"""
)

# Moves some of a parked writer's entries back into the stream, perhaps only to be dropped there (`d`):
# the worker has to record their numbers. The writer is parked until the last one is back.
# KEYS: stream, pending, parked, parked bytes, parked why    ARGV: writer key, 1 to drop them, ids…
# -> 1 if the writer is no longer parked
UNPARK = _with_names(
    _CHARGE
    + """
redis.call('HDEL', KEYS[2], '')
local writer, total = ARGV[1], 0
for i = 3, #ARGV do
  local entry = redis.call('XRANGE', KEYS[3], ARGV[i], ARGV[i])[1]
  if entry then
    local fields = entry[2]
    local seq, size = charge(fields)
    if ARGV[2] == '1' then fields[#fields + 1] = '$is_dropped' fields[#fields + 1] = '1' end
    local id = redis.call('XADD', KEYS[1], '*', unpack(fields))
    redis.call('XDEL', KEYS[3], ARGV[i])
    redis.call('HSET', KEYS[2], seq .. '/' .. writer, id)
    total = total + size
  end
end
if redis.call('HEXISTS', KEYS[4], writer) == 0 then return 1 end
local less = 0 - total  -- the text of `-total` would be `-0` if there was nothing
redis.call('HINCRBY', KEYS[4], '', less)
if redis.call('HINCRBY', KEYS[4], writer, less) > 0 then return 0 end
redis.call('HDEL', KEYS[4], writer)
redis.call('HDEL', KEYS[5], writer)
return 1
"""
)

# Acknowledges a commit: publishes positions, deletes entries, adds dead letters; all or nothing, and
# only by the owner. Digests are kept of
# a writer's last 64 batches. An empty position is left unchanged: the store does not know the writer.
# KEYS: lease, stream, pending, committed, failures, dead, digests, dead seqs, tried
# ARGV: owner, number of writers, (writer key, position, its dead numbers, new digests)…,
#       number of entries, (id, pending field)…, number of dead letters, (id, reason)…
# -> 1, or 0 if the lease has gone to another worker
COMMIT = _with_names("""
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('HDEL', KEYS[3], '')
local at = 3
local has_dead = redis.call('EXISTS', KEYS[8]) == 1
for _ = 1, tonumber(ARGV[2]) do
  local writer, mark, dead, digests = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  if mark ~= '' then redis.call('HSET', KEYS[4], writer, mark) end
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
redis.call('DEL', KEYS[9])
local letters = first + 2 * entries
for i = 1, tonumber(ARGV[letters]) do
  local id, reason = ARGV[letters + 2 * i - 1], ARGV[letters + 2 * i]
  local entry = redis.call('XRANGE', KEYS[2], id, id)[1]
  if entry then
    local fields = entry[2]
    fields[#fields + 1] = '$reason'
    fields[#fields + 1] = reason
    redis.call('XADD', KEYS[6], '*', unpack(fields))
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
""")

# Replay: moves a dead letter back into its stream, flagged so that the worker retries it though its
# number is dead.
# KEYS: dead, stream    ARGV: id    -> id of the new entry, or false if there is no such letter
REPLAY = _with_names("""
local letter = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1]
if not letter then return false end
local fields = {}
for i = 1, #letter[2], 2 do
  local name = letter[2][i]
  if name ~= '$reason' and name ~= '$is_replay' then
    fields[#fields + 1] = name
    fields[#fields + 1] = letter[2][i + 1]
  end
end
fields[#fields + 1] = '$is_replay'
fields[#fields + 1] = '1'
local id = redis.call('XADD', KEYS[2], '*', unpack(fields))
redis.call('XDEL', KEYS[1], ARGV[1])
return id
""")

# The clock only goes forward.
# KEYS: clock    ARGV: time (µs)
ADVANCE = """
local known = redis.call('GET', KEYS[1])
if known and tonumber(known) >= tonumber(ARGV[1]) then return 0 end
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[1], ARGV[1])
return 1
"""

# The state of a shard's queue, without transferring any batch.
# KEYS: stream, lease
# -> {id of the oldest entry or false, owner or false}
WAITING = """
local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
return {first and first[1] or false, redis.call('GET', KEYS[2])}
"""

# KEYS: stream, dead, lease, incarnation, parked, parked bytes
# -> {entries, bytes or false, id of the first entry or false, dead letters, 1 if owned,
#     incarnation or false, parked entries, their bytes or false, parked writers}
LOOK = """
local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
local total = redis.call('HGET', KEYS[6], '')
return {
  redis.call('XLEN', KEYS[1]),
  redis.call('MEMORY', 'USAGE', KEYS[1]) or false,
  first and first[1] or false,
  redis.call('XLEN', KEYS[2]),
  redis.call('EXISTS', KEYS[3]),
  redis.call('GET', KEYS[4]),
  redis.call('XLEN', KEYS[5]),
  total,
  redis.call('HLEN', KEYS[6]) - (total and 1 or 0)
}
"""
