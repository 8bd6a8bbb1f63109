-- What is known of a thread at this moment; whoever executes its runs hears that somebody listens.
--
-- ARGV: prefix, floor of the numbers, thread, number to begin after, dialect or '' if no frames are wanted, run or ''.
-- Answers {time, number all later frames are above, entries of the stream, the run's end or nil}.
local prefix, thread = ARGV[1], ARGV[3]
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local newest = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), tonumber(ARGV[2]), now)
redis.call('SET', KEYS[1], string.format('%.0f', newest))
local entries = {}
if ARGV[5] ~= '' then
  redis.call('PUBLISH', prefix .. 'wanted:' .. thread, ARGV[5])
  entries = redis.call('XRANGE', prefix .. 'events:' .. thread, '(' .. ARGV[4] .. '-0', '+')
end
return {now, newest, entries, ARGV[6] ~= '' and redis.call('HGET', prefix .. 'ends:' .. thread, ARGV[6])}
