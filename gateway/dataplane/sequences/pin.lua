-- One verb on one pin. KEYS: the pin, its tenant's set of keys by the moment at which each lapses (Redis' own clock, ms).
-- ARGV: the verb, the pin, for how long (ms), and how many its tenant may have.
local verb, pin, for_ms, most = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
if verb == 'keep' then
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
  if not redis.call('ZSCORE', KEYS[2], KEYS[1]) and redis.call('ZCARD', KEYS[2]) >= most then
    return 0
  end
elseif redis.call('GET', KEYS[1]) ~= pin then
  return 1 -- another sequence has this key now
end
if verb == 'drop' then
  redis.call('DEL', KEYS[1])
  redis.call('ZREM', KEYS[2], KEYS[1])
  return 1
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('SET', KEYS[1], pin, 'PX', for_ms)
redis.call('ZADD', KEYS[2], now + for_ms, KEYS[1])
if redis.call('PTTL', KEYS[2]) < for_ms then
  redis.call('PEXPIRE', KEYS[2], for_ms)
end
return 1
