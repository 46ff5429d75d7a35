"""The Lua scripts of shards' leases and of workers' signs of life: each is one atomic step."""

from __future__ import annotations

__all__ = ["ACQUIRE", "RELEASE", "RENEW", "SIGN"]

# KEYS: workers    ARGV: worker, now (s), time before which others count as gone (s)
# -> number of live workers
SIGN = """
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[3])
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
return redis.call('ZCARD', KEYS[1])
"""

# Epochs (fencing tokens) never repeat, even if Redis lost them: they are at least the time in seconds.
# A worker that restarted under its old name takes its shards back at once, under a new epoch.
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
