-- One round trip of one process: what it gives back, renews and learned goes in, slots come out. Atomic, on Redis's
-- clock, and never slower than the logarithm of the number of slots held. Moments are in milliseconds.
--
-- KEYS: slots (by the moment each comes free), state, named limits (by route), probes (by the moment each is given
-- up), processes (by when last seen), claims of those who wait (one set for each lane, by the moment each lapses),
-- and the number of this process's last call.
-- ARGV: one JSON document, see sync.py.

local SLOTS, STATE, NAMED, PROBES, SEEN, INTERACTIVE, BULK, CALL = unpack(KEYS)
local ask = cjson.decode(ARGV[1])
local ALWAYS_OPEN = 1000000000

local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000

local state = {}
local stored = redis.call('HGETALL', STATE)
for i = 1, #stored, 2 do
  state[stored[i]] = stored[i + 1]
end
local changed = {}

local function text(value)
  return type(value) == 'number' and string.format('%.3f', value) or value
end

local function number(name, default)
  return tonumber(state[name] or default)
end

local function set(name, value)
  state[name] = text(value)
  changed[name] = state[name]
end

local function member(slot)
  return ask.process .. ':' .. string.format('%.0f', slot)
end

-- A call that was held up on its way and comes after a later one would grant what nobody waits for any more.
local last_call = tonumber(redis.call('GET', CALL) or 0)
if last_call >= ask.call then
  return {'late'}
end
redis.call('SET', CALL, string.format('%.0f', ask.call), 'PX', ask.remember)

local function begin_epoch()
  set('epoch', ask.process .. '-' .. string.format('%.0f-%.0f', ask.call, now))
  set('epoch_at', now)
  set('closing', 1)
  set('at_once', 1)
  set('cold', 1)
  set('freed', 0)
end

local function forget_lapsed()
  local freed = redis.call('ZREMRANGEBYSCORE', SLOTS, '-inf', text(now))
  if freed > 0 then
    set('freed', number('freed', 0) + freed)
  end
  -- Nothing is held longer than a lease and a window, unless the clock was set back.
  redis.call('ZREMRANGEBYSCORE', SLOTS, text(now + ask.lease + ask.window + 1000), '+inf')
  redis.call('ZREMRANGEBYSCORE', PROBES, '-inf', text(now))
  redis.call('ZREMRANGEBYSCORE', INTERACTIVE, '-inf', text(now))
  redis.call('ZREMRANGEBYSCORE', BULK, '-inf', text(now))
  redis.call('ZREMRANGEBYSCORE', SEEN, '-inf', text(now - ask.window))
end

-- The gate: closed until a moment, opening behind probes, or open.

local function open_gate()
  set('at_once', ALWAYS_OPEN)
  set('cold', 0)
  redis.call('DEL', PROBES)
end

local function let_through(fact)
  if fact.closing ~= number('closing') then
    return
  end
  set('pause', ask.first_pause)
  if number('at_once') < ALWAYS_OPEN then
    set('at_once', number('at_once') + 1)
    if fact.remaining or number('at_once') > ask.at_once_when_open then
      open_gate()
    end
  end
end

local function refuse(fact)
  local wait = math.max(0, (fact.wait or 0) - fact.got)
  if not fact.closing or fact.closing == number('closing') then
    set('closing', number('closing') + 1)
    set('at_once', 1)
    set('cold', 0)
    redis.call('DEL', PROBES)
    if not fact.wait then
      wait = number('pause', ask.first_pause)
      set('pause', math.min(2 * wait, ask.longest_pause))
    end
    wait = wait + fact.jitter * math.min(ask.largest_jitter, ask.jitter_share * wait)
  end
  if now + wait > number('opens_at', 0) then
    set('opens_at', now + wait)
    set('quota', fact.quota and 1 or 0)
    set('reset_at', fact.reset_at or '')
  end
end

-- The limits that the server names, one for each route; the smallest of those heard of lately holds for all.

local function smallest_named()
  local smallest
  local named = redis.call('HGETALL', NAMED)
  for i = 1, #named, 2 do
    local limit, heard = string.match(named[i + 1], '^(%S+) %S+ %S+ %S+ (%S+)$')
    if tonumber(heard) < now - ask.remember_route then
      redis.call('HDEL', NAMED, named[i])
    else
      smallest = math.min(smallest or tonumber(limit), tonumber(limit))
    end
  end
  return smallest
end

local function learn_limit(fact)
  local sent, got = now - fact.sent, now - fact.got
  local limit, higher, since, adopted = number('limit', ask.plan), 0, 0, 0
  local known = redis.call('HGET', NAMED, fact.route)
  if known then
    limit, higher, since, adopted = string.match(known, '^(%S+) (%S+) (%S+) (%S+) %S+$')
    limit, higher, since, adopted = tonumber(limit), tonumber(higher), tonumber(since), tonumber(adopted)
  end
  if sent >= adopted then
    if fact.limit <= limit then
      limit, higher = fact.limit, 0
    elseif fact.limit ~= higher then
      higher, since = fact.limit, got
    elseif sent >= since then
      limit, higher, adopted = fact.limit, 0, got
    end
  end
  redis.call('HSET', NAMED, fact.route,
    string.format('%.0f %.0f %.3f %.3f %.3f', limit, higher, since, adopted, got))
  if limit ~= number('limit', 0) then
    set('limit', smallest_named())
  end
end

-- Programs that are not of the fleet: what Remaining lacks and the fleet cannot have used is theirs for a window.

local function foreign()
  if number('foreign_at', 0) > now - ask.window then
    return number('foreign', 0)
  end
  if number('foreign_last_at', 0) > now - ask.window then
    return number('foreign_last', 0)
  end
  return 0
end

local function learn_use(fact, limit)
  local used = math.max(0, math.min(fact.limit or limit, limit) - fact.remaining)
  local ours = redis.call('ZCARD', SLOTS) + number('freed', 0) - fact.freed
  local theirs = math.max(0, used - ours)
  if theirs >= foreign() then
    set('foreign', theirs)
    set('foreign_at', now - fact.got)
  end
  set('foreign_last', theirs)
  set('foreign_last_at', now - fact.got)
end

local function learn(fact)
  if fact.limit then
    learn_limit(fact)
  end
  if fact.remaining and fact.freed then
    learn_use(fact, number('limit', ask.plan))
  end
  if fact.refused then
    refuse(fact)
  elseif fact.status then
    let_through(fact)
  end
end

local function take_back()
  for _, slot in ipairs(ask.drop) do
    redis.call('ZREM', SLOTS, member(slot))
    redis.call('ZREM', PROBES, member(slot))
  end
  for _, held in ipairs(ask.hold) do
    local slot, rest, over = held[1], held[2], held[3] == 1
    redis.call('ZADD', SLOTS, text(now + rest), member(slot))
    if not over then
      redis.call('ZADD', PROBES, 'XX', text(now + ask.lease), member(slot))
    elseif redis.call('ZREM', PROBES, member(slot)) == 1 and number('cold', 0) == 1 then
      open_gate()
    end
  end
end

-- Whose turn it is: interactive calls of any process before bulk calls of any other; but while bulk waits it is
-- owed one slot for every few interactive ones, wherever it waits.

local function share_out(free)
  local wanted, given = {ask.interactive, ask.bulk}, {0, 0}
  local elsewhere = {redis.call('ZCARD', INTERACTIVE), redis.call('ZCARD', BULK)}
  local bulk_waits = ask.bulk > 0 or elsewhere[2] > 0
  local in_a_row = bulk_waits and number('in_a_row', 0) or 0
  local owed = bulk_waits and number('owed', 0) or 0
  local yielded = false
  while free > 0 and given[1] + given[2] < wanted[1] + wanted[2] do
    if owed > 0 and given[2] < wanted[2] then
      given[2], owed = given[2] + 1, owed - 1
    elseif given[1] < wanted[1] and free > owed then
      given[1], in_a_row = given[1] + 1, in_a_row + 1
      if bulk_waits and in_a_row == ask.interactive_in_a_row then
        in_a_row, owed = 0, owed + 1
      end
    elseif given[1] < wanted[1] or elsewhere[1] > 0 then
      yielded = true
      break
    else
      given[2], in_a_row = given[2] + 1, 0
    end
    free = free - 1
  end
  set('in_a_row', bulk_waits and in_a_row or 0)
  set('owed', owed)
  return given, yielded
end

local function claim(lane, waiting)
  if waiting > 0 then
    redis.call('ZADD', lane, text(now + ask.claim), ask.process)
  end
end

local function score_at(rank)
  local found = redis.call('ZRANGE', SLOTS, rank, rank, 'WITHSCORES')
  return found[2] and tonumber(found[2])
end

local function remember()
  local fields = {}
  for name, value in pairs(changed) do
    fields[#fields + 1] = name
    fields[#fields + 1] = value
  end
  if #fields > 0 then
    redis.call('HSET', STATE, unpack(fields))
  end
  local beyond = math.max(0, number('opens_at', 0) - now)
  for i = 1, #KEYS - 1 do
    redis.call('PEXPIRE', KEYS[i], string.format('%.0f', ask.remember + beyond))
  end
end

-- The call itself.

if not state.epoch then
  begin_epoch()
end
if ask.epoch ~= state.epoch then
  -- What is held here may be less than the truth until this process has told what it holds.
  remember()
  return {'another epoch', state.epoch, math.ceil(now - number('epoch_at'))}
end
forget_lapsed()
-- A replica that took over, or a Redis that was started again from its disk, may lack what came last.
local lost = last_call < ask.heard
if (ask.back or lost) and number('recovers_at', 0) <= now then
  set('recovers_at', now + ask.recovery)
end
redis.call('ZADD', SEEN, text(now), ask.process)
redis.call('ZREM', INTERACTIVE, ask.process)
redis.call('ZREM', BULK, ask.process)
take_back()
for _, fact in ipairs(ask.facts) do
  learn(fact)
end
if ask.bye then
  redis.call('ZREM', SEEN, ask.process)
end

local limit = number('limit', ask.plan)
local held = redis.call('ZCARD', SLOTS)
local free = limit - held - foreign()
local retry = 0
local closed = number('opens_at', 0) > now
local opening = number('at_once', 1) < ALWAYS_OPEN
local recovering = number('recovers_at', 0) > now

local room = math.max(0, free)
if closed then
  room, retry = 0, number('opens_at') - now
elseif opening and number('at_once') - redis.call('ZCARD', PROBES) < room then
  room, retry = math.max(0, number('at_once') - redis.call('ZCARD', PROBES)), ask.poll
end
if recovering and ask.spare < room then
  room, retry = ask.spare, ask.poll
end

local given, yielded = share_out(room)
local granted = given[1] + given[2]
for slot = ask.first, ask.first + granted - 1 do
  redis.call('ZADD', SLOTS, text(now + ask.lease + ask.window), member(slot))
  if opening then
    redis.call('ZADD', PROBES, text(now + ask.lease), member(slot))
  end
end
claim(INTERACTIVE, ask.interactive - given[1])
claim(BULK, ask.bulk - given[2])
if yielded then
  retry = ask.poll
elseif retry == 0 and free <= granted then
  retry = (score_at(0) or now + ask.poll) - now
  if limit - held - granted > 0 then
    -- Only what others use is in the way.
    retry = math.min(retry, ask.recheck)
  end
end

local reply = {
  'ok', state.epoch, math.ceil(now - number('epoch_at')), limit, math.floor(free - granted), granted,
  number('freed', 0), number('closing', 1), math.ceil(math.max(0, number('opens_at', 0) - now)),
  number('quota', 0), state.reset_at or '', opening and 1 or 0, redis.call('ZCARD', SEEN), math.ceil(retry),
  text(now), recovering and 1 or 0, lost and 1 or 0,
}
if granted < ask.interactive + ask.bulk then
  -- When the first of the slots come free, and some of the later ones: what a deadline is judged by.
  held = held + granted
  for part = 0, 4 do
    local rank = math.floor((held - 1) * part / 4)
    if held > 0 then
      reply[#reply + 1] = rank
      reply[#reply + 1] = math.ceil(score_at(rank) - now)
    end
  end
end
remember()
return reply
