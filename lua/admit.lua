-- Decides about a batch of requests: token buckets, in-flight leases, and both in one step.
--
-- Redis' clock alone counts; no server's. Numbers are whole micro-tokens and microseconds below
-- 2^53, where Lua's doubles are exact: src/domain/bucket.rs is the same arithmetic.
--
-- KEYS[1]     leases: a hash of holder -> count, sequence, deadline, epoch, life (five doubles)
-- KEYS[2...]  buckets, each named once: micro-tokens and microseconds of the last change (two
--             doubles)
-- ARGV[1]     capacity of a bucket, micro-tokens
-- ARGV[2]     rate, micro-tokens a microsecond (which is tokens a second)
-- ARGV[3]     slots that all leases may hold together
-- ARGV[4]     time that a lease lives without a call, microseconds
-- ARGV[5]     holder, '<server>:<core>'; '' for a call that has nothing to do with leases
-- ARGV[6]     sequence: grows with each call that names the holder, so that one that arrives late is
--             known
-- ARGV[7]     slots that the holder has in use, which replaces what was known of it
-- ARGV[8]     '1' where the lease stays without slots: it is how servers are counted
-- ARGV[9]     slots wanted by requests without a bucket
-- ARGV[10]    index in KEYS of the first bucket whose requests want a slot, too
-- ARGV[11]    requests of each bucket, in the order of KEYS: unsigned integers of four bytes, little
--             endian; '' where each has one
--
-- Returns servers, epoch (of the lease; another one: the lease was lost), slots granted to requests
-- without a bucket, slots left; and in one string for each bucket requests granted, micro-tokens
-- remaining, milliseconds until the next token (0: there is one; -1: waiting does not help), each
-- a signed integer of eight bytes, little endian: numbers one by one cost more than the decision.
-- A late call of a holder with a lease changes nothing and gets the error LATE. What is not as this
-- script writes it, somebody else wrote: such a bucket is full, and such a lease is none.
--
-- Cost: one MGET, one PSETEX per bucket; O(leases) with one HGETALL and one HSET where there is a
-- holder.

local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]

local TOKEN = 1000000
local floor, ceil, min, max = math.floor, math.ceil, math.min, math.max
local call, pack, unpack, spread = redis.call, struct.pack, struct.unpack, unpack
local capacity, rate = tonumber(ARGV[1]), tonumber(ARGV[2])

local holder, lease_micros = ARGV[5], tonumber(ARGV[4])
local servers, epoch, room, mine = 0, now, 0, 0
local latest = now + lease_micros
if holder ~= '' then
  local others, seen = 0, { [holder:match('^[^:]*')] = true }
  servers = 1
  local leases = call('HGETALL', KEYS[1])
  for at = 1, #leases, 2 do
    local name, told = leases[at], leases[at + 1]
    local count, sequence, deadline, since, life = 0, 0, 0, 0, 0
    if #told == 40 then
      count, sequence, deadline, since, life = unpack('ddddd', told)
    end
    if deadline > now + life then
      -- The clock has stepped back. The lease ends when it would have, counted from here.
      deadline = now + life
      call('HSET', KEYS[1], name, pack('ddddd', count, sequence, deadline, since, life))
    end
    latest = max(latest, deadline)
    if name == holder and deadline > now then
      if tonumber(ARGV[6]) <= sequence then
        return redis.error_reply('LATE a newer call of this holder was here before')
      end
      epoch = since
    elseif name ~= holder and deadline > now then
      others = others + count
      local server = name:match('^[^:]*')
      if not seen[server] then
        seen[server] = true
        servers = servers + 1
      end
    elseif name ~= holder then
      call('HDEL', KEYS[1], name)
    end
  end
  -- A holder that overslept its lease may have more in use than is left for it: it gets what is.
  local allowed = max(0, ARGV[3] - others)
  mine = min(tonumber(ARGV[7]), allowed)
  room = allowed - mine
end

local alone = min(tonumber(ARGV[9]), room)
room = room - alone
mine = mine + alone

local wanted = ARGV[11]
local with_slot = tonumber(ARGV[10])
local fill_micros, micros_per_ms = 0, rate * 1000
if rate > 0 then
  fill_micros = ceil(capacity / rate)
end
local buckets = {}
if #KEYS > 1 then
  buckets = call('MGET', spread(KEYS, 2))
end
-- Writing a number down costs more than the rest of a bucket, and many live equally long. Calls of
-- math's functions, where a comparison does, are a tenth of the time.
local lives = {}
local answers = {}
for at = 2, #KEYS do
  local key, level, last = KEYS[at], capacity, now
  local known = buckets[at - 1]
  if known and #known == 16 then
    level, last = unpack('dd', known)
  end
  -- A step back is no time at all; beyond the time to fill, time changes nothing.
  local elapsed = now - last
  if elapsed > fill_micros then
    elapsed = fill_micros
  end
  if elapsed > 0 then
    level = level + elapsed * rate
  end
  -- More than it holds, or nothing that a bucket can have.
  if not (level >= 0 and level <= capacity) then
    level = capacity
  end

  local requests = 1
  if wanted ~= '' then
    requests = unpack('<I4', wanted, 4 * at - 7)
  end
  local granted = requests
  if level < requests * TOKEN then
    granted = floor(level / TOKEN)
  end
  if at >= with_slot then
    granted = min(granted, room)
    room = room - granted
    mine = mine + granted
  end
  level = level - granted * TOKEN

  local wait_ms = -1
  if level >= TOKEN then
    wait_ms = 0
  elseif rate > 0 and capacity > 0 then
    wait_ms = ceil((TOKEN - level) / micros_per_ms)
  end
  -- A bucket that is full again is the same as none. Some versions of Redis end a key when its last
  -- millisecond begins: with one more, none ends before it is full.
  if rate > 0 then
    local life_ms = 1 + ceil((capacity - level) / micros_per_ms)
    local life = lives[life_ms]
    if not life then
      life = string.format('%.0f', life_ms)
      lives[life_ms] = life
    end
    call('PSETEX', key, life, pack('dd', level, now))
  else
    call('SET', key, pack('dd', level, now))
  end
  answers[at - 1] = pack('<i8i8i8', granted, level, wait_ms)
end

if holder ~= '' then
  if mine > 0 or ARGV[8] == '1' then
    local until_then = now + lease_micros
    call('HSET', KEYS[1], holder, pack('ddddd', mine, ARGV[6], until_then, epoch, lease_micros))
    call('PEXPIRE', KEYS[1], ceil((latest - now) / 1000))
  else
    call('HDEL', KEYS[1], holder)
  end
end
return { servers, epoch, alone, room, table.concat(answers) }
