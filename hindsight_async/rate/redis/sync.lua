-- One round trip of one process: what became of its requests goes into the log of the fleet, permits come out, and what
-- the log has got since. When a request may leave is decided by the processes, all of them by the same log: see
-- fleet_log.py. Here it is only made sure that no two of them use the same room, that no more permits are out than the
-- limit, and that nothing of this is missing. Atomic, on Redis's clock, in milliseconds.
--
-- KEYS: permits (by the moment each comes free), log (a stream), state, processes (by the moment each is forgotten),
-- claims of those who wait (one set for each lane, by the moment each lapses), the number of this process's last call.
-- ARGV: what is asked, as JSON; what is told, as text for the other processes.

local PERMITS, LOG, STATE, SEEN, INTERACTIVE, BULK, CALL = unpack(KEYS)
local request, told = cjson.decode(ARGV[1]), ARGV[2]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local state = {}
local stored = redis.call('HGETALL', STATE)
for i = 1, #stored, 2 do
  state[stored[i]] = stored[i + 1]
end

local function whole(value)
  return string.format('%.0f', value)
end

local function number(name)
  return tonumber(state[name] or 0)
end

local function last_entry()
  local last = redis.call('XREVRANGE', LOG, '+', '-', 'COUNT', 1)[1]
  return last and last[1] or ''
end

local function member(permit)
  return request.process .. ':' .. whole(permit)
end

-- Written in the end of each call, and found as it was in the beginning of the next: else something was lost.
local function remember()
  state.permits, state.last, state.at = redis.call('ZCARD', PERMITS), last_entry(), whole(now)
  local fields = {}
  for name, value in pairs(state) do
    fields[#fields + 1], fields[#fields + 2] = name, value
  end
  redis.call('HSET', STATE, unpack(fields))
  local beyond = math.max(0, number('closed_until') - now)
  for i = 1, #KEYS - 1 do
    redis.call('PEXPIRE', KEYS[i], whole(request.remember + beyond))
  end
end

-- Interactive calls of any process go before bulk calls of any other; but while bulk waits it is owed one permit for
-- every few interactive ones, wherever it waits.
local function share_out(free, interactive, bulk)
  local given, yielded = {0, 0}, false
  local elsewhere = {redis.call('ZCARD', INTERACTIVE), redis.call('ZCARD', BULK)}
  local bulk_waits = bulk > 0 or elsewhere[2] > 0
  local in_a_row = bulk_waits and number('in_a_row') or 0
  local owed = bulk_waits and number('owed') or 0
  while free > 0 and given[1] + given[2] < interactive + bulk do
    if owed > 0 and given[2] < bulk then
      given[2], owed = given[2] + 1, owed - 1
    elseif given[1] < interactive and free > owed then
      given[1], in_a_row = given[1] + 1, in_a_row + 1
      if bulk_waits and in_a_row == request.interactive_in_a_row then
        in_a_row, owed = 0, owed + 1
      end
    elseif given[1] < interactive or elsewhere[1] > 0 then
      yielded = true
      break
    else
      given[2], in_a_row = given[2] + 1, 0
    end
    free = free - 1
  end
  state.in_a_row, state.owed = bulk_waits and in_a_row or 0, owed
  return given, yielded
end

-- A call that was delayed on its way and comes after a later one would issue what nobody waits for any more.
local last_call = tonumber(redis.call('GET', CALL) or 0)
if last_call >= request.call then
  return {'late'}
end
-- A clock that jumped would have let permits lapse; a call that was long on its way is made anew.
if request.clock and math.abs(now - request.clock) > request.tolerance then
  return {'another time', whole(now)}
end
redis.call('SET', CALL, whole(request.call), 'PX', whole(request.remember))

local same = request.epoch == state.epoch
local fits = state.permits == tostring(redis.call('ZCARD', PERMITS)) and state.last == last_entry()
  and now >= number('at') - request.tolerance
if not state.epoch or not fits or same and (request.discards or last_call < request.answered) then
  local recovers_at = state.epoch and now + request.recovery or 0
  redis.call('DEL', LOG, STATE, INTERACTIVE, BULK)
  state = {epoch = member(request.call) .. '-' .. whole(now), epoch_at = whole(now), recovers_at = whole(recovers_at)}
end
if request.epoch ~= state.epoch then
  -- There may be fewer permits here than are in use until this process has told of its own.
  remember()
  return {'another epoch', whole(now), state.epoch, whole(now - number('epoch_at'))}
end

-- Before what has lapsed goes, since what is told late has: its room is free in this very call.
for _, permit in ipairs(request.unsent) do
  redis.call('ZREM', PERMITS, member(permit))
end
for _, renewal in ipairs(request.renewals) do
  redis.call('ZADD', PERMITS, whole(now + renewal[2]), member(renewal[1]))
end
-- No permit is kept longer than a lease and a window, unless the clock was set back.
redis.call('ZREMRANGEBYSCORE', PERMITS, whole(now + request.lease + request.window + request.tolerance), '+inf')
for _, lapsing in ipairs({PERMITS, SEEN, INTERACTIVE, BULK}) do
  redis.call('ZREMRANGEBYSCORE', lapsing, '-inf', whole(now))
end
for _, of_process in ipairs({SEEN, INTERACTIVE, BULK}) do
  redis.call('ZREM', of_process, request.process)
end
if not request.leaving then
  redis.call('ZADD', SEEN, whole(now + request.window), request.process)
end
if request.returning and number('recovers_at') <= now then
  state.recovers_at = whole(now + request.recovery)
end
state.alarms = number('alarms') + (request.alarms_others and 1 or 0)
if request.closed_until and request.closed_until > number('closed_until') then
  state.closed_until, state.closed = whole(request.closed_until), request.closed
end
state.limits = request.limits or state.limits

local taken, recovering = redis.call('ZCARD', PERMITS), number('recovers_at') > now
-- None for a process that has yet to read that the server refused somebody, or named another limit.
local room = request.alarms == number('alarms') and math.min(request.limit - taken, request.allowed - number('issued')) or 0
room = recovering and math.min(room, request.spare) or room
local issued, groups, given_to, unmet, yielded = 0, {}, {}, {0, 0}, false
for i, group in ipairs(request.groups) do
  local issued_on = 'issued on ' .. group.route
  local given, yields = share_out(math.min(room - issued, group.allowed - number(issued_on)), group.interactive, group.bulk)
  local count = given[1] + given[2]
  if count > 0 then
    given_to[#given_to + 1] = {group.route, request.first + issued, count}
  end
  issued, yielded = issued + count, yielded or yields
  state[issued_on] = whole(number(issued_on) + count)
  unmet[1], unmet[2] = unmet[1] + group.interactive - given[1], unmet[2] + group.bulk - given[2]
  groups[i] = {whole(count), state[issued_on]}
end
for permit = request.first, request.first + issued - 1 do
  redis.call('ZADD', PERMITS, whole(now + request.lease + request.window), member(permit))
end
state.issued = whole(number('issued') + issued)
for lane, claims in ipairs({INTERACTIVE, BULK}) do
  if unmet[lane] > 0 then
    redis.call('ZADD', claims, whole(now + request.claim), request.process)
  end
end
if told ~= '' or issued > 0 or #request.renewals > 0 then
  redis.call('XADD', LOG, 'MINID', '~', whole(now - request.log_kept), '*', 'process', request.process,
    'given', issued > 0 and cjson.encode(given_to) or '[]', 'told', told, 'recovering', recovering and '1' or '0')
end
local full = request.limit - taken - issued < 1 and redis.call('ZRANGE', PERMITS, 0, 0, 'WITHSCORES')[2]
remember()
return {
  'ok', whole(now), state.issued, tostring(number('alarms')), whole(redis.call('ZCARD', SEEN)), recovering and '1' or '0',
  yielded and '1' or '0', full and whole(math.max(0, full - now)) or '0', whole(number('closed_until')),
  state.closed or '', request.position == '0-0' and state.limits or '', groups,
  redis.call('XRANGE', LOG, '(' .. request.position, '+'),
}
