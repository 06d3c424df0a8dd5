-- One call of one worker: all that it has used, holds, asks for and would like to have, in one atomic step.
--
-- KEYS[1]  the workers that are alive: a sorted set, by when they last called
-- KEYS[2]  which run of the server filled this store, and since when: a worker learns from it that what it knew may be gone
-- KEYS[3]  until when a store that may have forgotten settles: workers tell what they know, and nobody gets anything
-- KEYS[4…] counters, each a hash: level and at as in gcra.py, and what each worker holds. Without a rate nothing is counted.
-- ARGV[1]  the worker   ARGV[2] after so many seconds without a call a worker is gone
-- ARGV[3]  1: the worker leaves   ARGV[4] the time in seconds, in tests; else the server's own clock is used
-- ARGV[5]  which run of the server answers; empty: it does not tell   ARGV[6] for so many seconds a store settles
-- ARGV[7]  MessagePack: {floors, charges, reports, asks, wants}; counters are named by their place in KEYS
--            floors  {place, rate, level}: so much was counted at least, by a store that has forgotten
--            charges {place, rate, units, most}: used without asking; count them, up to a level of `most`
--            reports {place, rate, used, held}: used of what was held; held now
--            asks    {{place, rate, burst, units}, …}: hold all of this or nothing
--            wants   {place, rate, burst, units, least}: hold up to so many; of fewer than `least` there is no use
-- Returns  MessagePack: {workers, empty since, seconds for which it settles, answers, given}; while it settles, all but
--          floors is ignored
--            answers {granted, {{left, seconds until it fits, seconds until it would if nothing were held}, …}}, 0 for now
--            given   {units, left}

local PARTS = 4       -- Ahead of need a worker gets at most this part of its share of what is left …
local AHEAD_S = 0.1   -- … or what its share of the rate brings in so many seconds.
local HELD_S = 1      -- In about so many seconds others have given back what they hold, or have counted it.
local LINGER_S = 10
local STEP_S = 1

local worker, lapse_s = ARGV[1], tonumber(ARGV[2])
local now = tonumber(ARGV[4])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) + tonumber(time[2]) / 1e6
end
local run, settle_s = ARGV[5], tonumber(ARGV[6])
local floors, charges, reports, asks, wants = unpack(cmsgpack.unpack(ARGV[7]))

redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. string.format('%.6f', now - lapse_s))
if ARGV[3] == '1' then
  redis.call('ZREM', KEYS[1], worker)
else
  redis.call('ZADD', KEYS[1], string.format('%.6f', now), worker)
end
local since = redis.call('GET', KEYS[2])
-- An empty store, and one that was saved by an earlier run of the server, know less than workers that counted with it. The
-- first to find it, who may know nothing, has it settle: the others will have found it by the end.
if not since or (run ~= '' and string.sub(since, 1, #run) ~= run) then
  since = run .. '@' .. string.format('%.6f', now)
  redis.call('SET', KEYS[2], since)
  redis.call('SET', KEYS[3], string.format('%.6f', now + settle_s))
end
local settles_s = tonumber(redis.call('GET', KEYS[3]) or now) - now
-- More than that only where the clock was set back.
if settles_s < 0 or settles_s > settle_s then settles_s = 0 end
if settles_s > 0 then charges, reports, asks, wants = {}, {}, {}, {} end
local alive = { [worker] = true }
local workers = 0
for _, name in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  alive[name] = true
  workers = workers + 1
end
workers = math.max(workers, 1)

-- A counter is read once, with its level as of now.
local counters = {}
local function counter(place, rate)
  local found = counters[place]
  if found then return found end
  found = { level = 0, own = 0, others = 0, rate = rate, gone = {} }
  counters[place] = found
  local at = now
  local rows = redis.call('HGETALL', KEYS[place])
  local lost = 0
  for i = 1, #rows, 2 do
    local name, value = rows[i], tonumber(rows[i + 1])
    if name == ':level' then
      found.level = value
    elseif name == ':at' then
      at = value
    elseif name == worker then
      found.own = value
    elseif alive[name] then
      found.others = found.others + value
    else
      table.insert(found.gone, name)
      lost = lost + value
    end
  end
  -- A clock that is put right goes back a little, in which nothing drains twice; one that was set back goes on from there.
  found.at = (at > now and at - now < STEP_S) and at or now
  found.level = math.max(0, found.level - rate * math.max(0, now - at))
  -- What a worker had that is gone it may have used; requests at a time ended with it.
  if rate > 0 then found.level = found.level + lost end
  return found
end
local function left(found, burst)
  return burst - found.level - found.others - found.own
end

for _, row in ipairs(floors) do
  local place, rate, level = unpack(row)
  local found = counter(place, rate)
  found.level = math.max(found.level, level)
end
for _, row in ipairs(charges) do
  local place, rate, units, most = unpack(row)
  local found = counter(place, rate)
  found.level = found.level + math.max(0, math.min(units, most - found.level))
end
for _, row in ipairs(reports) do
  local place, rate, used, held = unpack(row)
  local found = counter(place, rate)
  if rate > 0 then found.level = found.level + used end
  found.own = held
end

local answers = {}
for i, items in ipairs(asks) do
  local granted = 1
  for _, item in ipairs(items) do
    local place, rate, burst, units = unpack(item)
    if units > left(counter(place, rate), burst) then granted = 0 end
  end
  local rows = {}
  for j, item in ipairs(items) do
    local place, rate, burst, units = unpack(item)
    local found = counter(place, rate)
    local lacking = units - left(found, burst)
    local after_s, drained_s = 0, 0
    if lacking > 0 then
      after_s = HELD_S
      if rate > 0 then
        drained_s = math.max(0, found.level + units - burst) / rate
        after_s = math.min(lacking / rate, drained_s + HELD_S)
      end
    end
    if granted == 1 then found.own = found.own + units end
    rows[j] = { left(found, burst), after_s, drained_s }
  end
  answers[i] = { granted, rows }
end

local given = {}
for i, item in ipairs(wants) do
  local place, rate, burst, units, least = unpack(item)
  local found = counter(place, rate)
  local free = left(found, burst)
  local share = math.max(free / (PARTS * workers), rate * AHEAD_S / workers)
  units = math.floor(math.min(units, share, free))
  if units < least then units = 0 end
  found.own = found.own + units
  given[i] = { units, left(found, burst) }
end

for place, found in pairs(counters) do
  local key = KEYS[place]
  for _, name in ipairs(found.gone) do redis.call('HDEL', key, name) end
  if found.rate > 0 then
    redis.call('HSET', key, ':level', string.format('%.17g', found.level), ':at', string.format('%.17g', found.at))
  end
  if found.own > 0 then
    redis.call('HSET', key, worker, found.own)
  else
    redis.call('HDEL', key, worker)
  end
  local drained_s = found.rate > 0 and found.level / found.rate or 0
  redis.call('PEXPIRE', key, math.ceil((drained_s + lapse_s + LINGER_S) * 1000))
end
return cmsgpack.pack({ workers, since, settles_s, answers, given })
