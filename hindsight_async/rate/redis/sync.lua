-- One round trip of one process: what it puts back, renews and has learned goes in, permits come out. Atomic, on Redis's
-- clock, and never slower than the logarithm of the number of permits. Moments are in milliseconds.
--
-- KEYS: permits (by the moment each comes free), state, named limits (by route), probes (by the moment each is given
-- up), processes (by when last seen), claims of those who wait (one set for each lane, by the moment each lapses),
-- and the number of this process's last call.
-- ARGV: one JSON document, see messages.py.

local PERMITS, STATE, NAMED, PROBES, SEEN, INTERACTIVE, BULK, CALL = unpack(KEYS)
local request = cjson.decode(ARGV[1])
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

local function member(permit)
  return request.process .. ':' .. string.format('%.0f', permit)
end

-- A call that was delayed on its way and comes after a later one would issue what nobody waits for any more.
local last_call = tonumber(redis.call('GET', CALL) or 0)
if last_call >= request.call then
  return {'late'}
end
redis.call('SET', CALL, string.format('%.0f', request.call), 'PX', request.remember)

local function begin_epoch()
  set('epoch', request.process .. '-' .. string.format('%.0f-%.0f', request.call, now))
  set('epoch_at', now)
  set('generation', 1)
  set('at_once', 1)
  set('cold', 1)
  set('freed', 0)
end

local function forget_lapsed()
  local freed = redis.call('ZREMRANGEBYSCORE', PERMITS, '-inf', text(now))
  if freed > 0 then
    set('freed', number('freed', 0) + freed)
  end
  -- No permit is kept longer than a lease and a window, unless the clock was set back.
  redis.call('ZREMRANGEBYSCORE', PERMITS, text(now + request.lease + request.window + 1000), '+inf')
  redis.call('ZREMRANGEBYSCORE', PROBES, '-inf', text(now))
  redis.call('ZREMRANGEBYSCORE', INTERACTIVE, '-inf', text(now))
  redis.call('ZREMRANGEBYSCORE', BULK, '-inf', text(now))
  redis.call('ZREMRANGEBYSCORE', SEEN, '-inf', text(now - request.window))
end

-- The cooldown: closed until a moment, opening behind probes, or fully open.

local function open_fully()
  set('at_once', ALWAYS_OPEN)
  set('cold', 0)
  redis.call('DEL', PROBES)
end

local function confirm(observation)
  if observation.generation ~= number('generation') then
    return
  end
  set('pause', request.first_pause)
  if number('at_once') < ALWAYS_OPEN then
    set('at_once', number('at_once') + 1)
    if observation.remaining or number('at_once') > request.at_once_when_open then
      open_fully()
    end
  end
end

local function close(observation)
  local wait = math.max(0, (observation.wait or 0) - observation.got)
  if not observation.generation or observation.generation == number('generation') then
    set('generation', number('generation') + 1)
    set('at_once', 1)
    set('cold', 0)
    redis.call('DEL', PROBES)
    if not observation.wait then
      wait = number('pause', request.first_pause)
      set('pause', math.min(2 * wait, request.longest_pause))
    end
    wait = wait + observation.jitter * math.min(request.largest_jitter, request.jitter_share * wait)
  end
  if now + wait > number('opens_at', 0) then
    set('opens_at', now + wait)
    set('quota', observation.quota and 1 or 0)
    set('reset_at', observation.reset_at or '')
  end
end

-- The limits that the server names, one for each route; the smallest of those named lately is for all.

local function smallest_named()
  local smallest
  local named = redis.call('HGETALL', NAMED)
  for i = 1, #named, 2 do
    local limit, named_at = string.match(named[i + 1], '^(%S+) %S+ %S+ %S+ (%S+)$')
    if tonumber(named_at) < now - request.remember_route then
      redis.call('HDEL', NAMED, named[i])
    else
      smallest = math.min(smallest or tonumber(limit), tonumber(limit))
    end
  end
  return smallest
end

local function learn_limit(observation)
  local sent, got = now - observation.sent, now - observation.got
  local limit, higher, since, adopted = number('limit', request.plan), 0, 0, 0
  local known = redis.call('HGET', NAMED, observation.route)
  if known then
    limit, higher, since, adopted = string.match(known, '^(%S+) (%S+) (%S+) (%S+) %S+$')
    limit, higher, since, adopted = tonumber(limit), tonumber(higher), tonumber(since), tonumber(adopted)
  end
  if sent >= adopted then
    if observation.limit <= limit then
      limit, higher = observation.limit, 0
    elseif observation.limit ~= higher then
      higher, since = observation.limit, got
    elseif sent >= since then
      limit, higher, adopted = observation.limit, 0, got
    end
  end
  redis.call('HSET', NAMED, observation.route,
    string.format('%.0f %.0f %.3f %.3f %.3f', limit, higher, since, adopted, got))
  if limit ~= number('limit', 0) then
    set('limit', smallest_named())
  end
end

-- Programs that are not of the fleet: what Remaining lacks and the fleet cannot have used is theirs for a window.

local function foreign()
  if number('foreign_at', 0) > now - request.window then
    return number('foreign', 0)
  end
  if number('foreign_last_at', 0) > now - request.window then
    return number('foreign_last', 0)
  end
  return 0
end

local function learn_use(observation, limit)
  local used = math.max(0, math.min(observation.limit or limit, limit) - observation.remaining)
  local ours = redis.call('ZCARD', PERMITS) + number('freed', 0) - observation.freed
  local theirs = math.max(0, used - ours)
  if theirs >= foreign() then
    set('foreign', theirs)
    set('foreign_at', now - observation.got)
  end
  set('foreign_last', theirs)
  set('foreign_last_at', now - observation.got)
end

local function learn(observation)
  if observation.limit then
    learn_limit(observation)
  end
  if observation.remaining and observation.freed then
    learn_use(observation, number('limit', request.plan))
  end
  if observation.refused then
    close(observation)
  elseif observation.status then
    confirm(observation)
  end
end

local function put_back_and_renew()
  for _, permit in ipairs(request.unsent) do
    redis.call('ZREM', PERMITS, member(permit))
    redis.call('ZREM', PROBES, member(permit))
  end
  for _, renewal in ipairs(request.renewals) do
    local permit, span, over = renewal[1], renewal[2], renewal[3] == 1
    redis.call('ZADD', PERMITS, text(now + span), member(permit))
    if not over then
      redis.call('ZADD', PROBES, 'XX', text(now + request.lease), member(permit))
    elseif redis.call('ZREM', PROBES, member(permit)) == 1 and number('cold', 0) == 1 then
      open_fully()
    end
  end
end

-- Whose turn it is: interactive calls of any process before bulk calls of any other; but while bulk waits it is
-- owed one permit for every few interactive ones, wherever it waits.

local function share_out(free)
  local wanted, given = {request.interactive, request.bulk}, {0, 0}
  local elsewhere = {redis.call('ZCARD', INTERACTIVE), redis.call('ZCARD', BULK)}
  local bulk_waits = request.bulk > 0 or elsewhere[2] > 0
  local in_a_row = bulk_waits and number('in_a_row', 0) or 0
  local owed = bulk_waits and number('owed', 0) or 0
  local yielded = false
  while free > 0 and given[1] + given[2] < wanted[1] + wanted[2] do
    if owed > 0 and given[2] < wanted[2] then
      given[2], owed = given[2] + 1, owed - 1
    elseif given[1] < wanted[1] and free > owed then
      given[1], in_a_row = given[1] + 1, in_a_row + 1
      if bulk_waits and in_a_row == request.interactive_in_a_row then
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
    redis.call('ZADD', lane, text(now + request.claim), request.process)
  end
end

local function score_at(rank)
  local found = redis.call('ZRANGE', PERMITS, rank, rank, 'WITHSCORES')
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
    redis.call('PEXPIRE', KEYS[i], string.format('%.0f', request.remember + beyond))
  end
end

-- The call itself.

if not state.epoch then
  begin_epoch()
end
if request.epoch ~= state.epoch then
  -- There may be fewer permits here than are in use until this process has told of its own.
  remember()
  return {'another epoch', state.epoch, math.ceil(now - number('epoch_at'))}
end
forget_lapsed()
-- A replica that took over, or a Redis that was started again from its disk, may lack what came last.
local lost = last_call < request.answered
if (request.returning or lost) and number('recovers_at', 0) <= now then
  set('recovers_at', now + request.recovery)
end
redis.call('ZADD', SEEN, text(now), request.process)
redis.call('ZREM', INTERACTIVE, request.process)
redis.call('ZREM', BULK, request.process)
put_back_and_renew()
for _, observation in ipairs(request.observations) do
  learn(observation)
end
if request.leaving then
  redis.call('ZREM', SEEN, request.process)
end

local limit = number('limit', request.plan)
local count = redis.call('ZCARD', PERMITS)
local free = limit - count - foreign()
local retry = 0
local closed = number('opens_at', 0) > now
local opening = number('at_once', 1) < ALWAYS_OPEN
local recovering = number('recovers_at', 0) > now

local room = math.max(0, free)
if closed then
  room, retry = 0, number('opens_at') - now
elseif opening and number('at_once') - redis.call('ZCARD', PROBES) < room then
  room, retry = math.max(0, number('at_once') - redis.call('ZCARD', PROBES)), request.poll
end
if recovering and request.spare < room then
  room, retry = request.spare, request.poll
end

local given, yielded = share_out(room)
local issued = given[1] + given[2]
for permit = request.first, request.first + issued - 1 do
  redis.call('ZADD', PERMITS, text(now + request.lease + request.window), member(permit))
  if opening then
    redis.call('ZADD', PROBES, text(now + request.lease), member(permit))
  end
end
claim(INTERACTIVE, request.interactive - given[1])
claim(BULK, request.bulk - given[2])
if yielded then
  retry = request.poll
elseif retry == 0 and free <= issued then
  retry = (score_at(0) or now + request.poll) - now
  if limit - count - issued > 0 then
    -- Only what others use is in the way.
    retry = math.min(retry, request.recheck)
  end
end

local reply = {
  'ok', state.epoch, math.ceil(now - number('epoch_at')), limit, math.floor(free - issued), issued,
  number('freed', 0), number('generation', 1), math.ceil(math.max(0, number('opens_at', 0) - now)),
  number('quota', 0), state.reset_at or '', opening and 1 or 0, redis.call('ZCARD', SEEN), math.ceil(retry),
  text(now), recovering and 1 or 0, lost and 1 or 0,
}
if issued < request.interactive + request.bulk then
  -- When the first of the permits come free, and some of the later ones: what a deadline is judged by.
  count = count + issued
  for part = 0, 4 do
    local rank = math.floor((count - 1) * part / 4)
    if count > 0 then
      reply[#reply + 1] = rank
      reply[#reply + 1] = math.ceil(score_at(rank) - now)
    end
  end
end
remember()
return reply
