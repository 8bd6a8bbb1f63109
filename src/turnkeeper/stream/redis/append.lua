-- Carry out a batch of items in their order, all or nothing, and once however often it arrives.
--
-- KEYS: the clock of all processes, the number of the last batch of the one that sends.
-- ARGV: prefix, deadline (microseconds, 0: none), floor of the numbers, number of the batch, seconds a thread's stream
-- lasts while its runs go on and after them, bytes of a stream, then the items, seven each:
--   frame,  thread, run, dialect, payload, tag, ''    number it, keep it (if it has a tag), tell it
--   end,    thread, run, message, kept, '', ''        tell an end; remember it if `kept` is not empty
--   forget, thread, run or '', '1' with its end       remove what was told
--   gap,    thread                                    say that frames were lost
--   say,    channel, message                          tell anything
-- Answers {1, time, numbers of the frames}, or {0, time} when it is later than the deadline and nothing was done:
-- whoever sent it has given up by then.
local prefix, deadline, batch = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[4])
local going, after, longest = ARGV[5], ARGV[6], tonumber(ARGV[7])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
if deadline > 0 and now > deadline then
  return {0, now}
end

local newest = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), tonumber(ARGV[3]))
local numbers, lasts = {}, {}

local function stream(thread)
  return prefix .. 'events:' .. thread
end

local function channel(thread, dialect)
  return prefix .. 'told:' .. thread .. ':' .. dialect
end

-- The numbers of a batch that has been here before; 0 for a frame that is not kept any more.
local function arrived()
  local places, known = {}, {}
  for i = 8, #ARGV, 7 do
    if ARGV[i] == 'frame' then
      local thread = ARGV[i + 1]
      for _, entry in ipairs(known[thread] == nil and redis.call('XRANGE', stream(thread), '-', '+') or {}) do
        places[entry[2][6]] = tonumber(string.match(entry[1], '%d+'))
      end
      known[thread] = true
      numbers[#numbers + 1] = places[ARGV[i + 5]] or 0
    end
  end
  return {1, now, numbers}
end

local function frame(thread, run, dialect, payload, tag)
  newest = math.max(newest + 1, now)
  local seq = string.format('%.0f', newest)
  if tag ~= '' then
    redis.call('XADD', stream(thread), seq .. '-0', 'r', run, 'p', payload, 't', tag)
    lasts[thread] = going
  end
  redis.call('PUBLISH', channel(thread, dialect), seq .. ':' .. payload)
  return newest
end

local function forget(thread, run, with_end)
  if run == '' then
    redis.call('DEL', stream(thread), prefix .. 'ends:' .. thread)
    return
  end
  for _, entry in ipairs(redis.call('XRANGE', stream(thread), '-', '+')) do
    if entry[2][2] == run then
      redis.call('XDEL', stream(thread), entry[1])
    end
  end
  if with_end == '1' then
    redis.call('HDEL', prefix .. 'ends:' .. thread, run)
  end
end

local function ended(thread, run, message, kept)
  if kept ~= '' then
    redis.call('HSET', prefix .. 'ends:' .. thread, run, kept)
    redis.call('EXPIRE', prefix .. 'ends:' .. thread, after)
  end
  local newest_entry = redis.call('XREVRANGE', stream(thread), '+', '-', 'COUNT', 1)[1]
  if newest_entry and newest_entry[2][2] == run then -- and not another run that goes on
    lasts[thread] = after
  end
  redis.call('PUBLISH', prefix .. 'end:' .. thread, message)
end

if tonumber(redis.call('GET', KEYS[2]) or '0') >= batch then
  return arrived()
end
redis.call('SET', KEYS[2], ARGV[4], 'EX', going)

for i = 8, #ARGV, 7 do
  local kind, thread = ARGV[i], ARGV[i + 1]
  if kind == 'frame' then
    numbers[#numbers + 1] = frame(thread, ARGV[i + 2], ARGV[i + 3], ARGV[i + 4], ARGV[i + 5])
  elseif kind == 'end' then
    ended(thread, ARGV[i + 2], ARGV[i + 3], ARGV[i + 4])
  elseif kind == 'forget' then
    forget(thread, ARGV[i + 2], ARGV[i + 3])
  elseif kind == 'gap' then
    redis.call('PUBLISH', channel(thread, '0'), 'gap')
    redis.call('PUBLISH', channel(thread, '1'), 'gap')
    redis.call('PUBLISH', prefix .. 'end:' .. thread, 'gap')
  else
    redis.call('PUBLISH', prefix .. thread, ARGV[i + 2])
  end
end

for thread, seconds in pairs(lasts) do
  redis.call('EXPIRE', stream(thread), seconds)
  local size = redis.call('MEMORY', 'USAGE', stream(thread)) or 0
  if size > longest then -- trimmed to less than that, so that it is not trimmed each time
    local most = math.floor(redis.call('XLEN', stream(thread)) * longest / size * 3 / 4)
    redis.call('XTRIM', stream(thread), 'MAXLEN', math.max(most, 1))
  end
end
redis.call('SET', KEYS[1], string.format('%.0f', newest))
return {1, now, numbers}
