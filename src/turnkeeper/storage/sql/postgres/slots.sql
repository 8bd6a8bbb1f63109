-- name: lock_limits
-- Differs: only here. Servers that start at the same time give their limits one after the other.
lock table concurrency_limits in share row exclusive mode;

-- name: limits
-- How many runs of a key may be executed at once, by key.
select concurrency_key, most from concurrency_limits order by concurrency_key;

-- name: forget_limits
-- No key has a limit any more.
delete from concurrency_limits;

-- name: limit_key
-- Give a key a limit.
insert into concurrency_limits (concurrency_key, most) values (:concurrency_key, :most);

-- name: take_back
-- Threads that have a slot and have not started wait for it anew, ahead of the others.
update ready
set lane = concurrency_key,
    turn = coalesce((
      select min(turn) from ready as other where other.lane = ready.concurrency_key and other.priority = ready.priority
    ), 0)
where lane = '' and concurrency_key is not null;

-- name: lanes
-- The keys that threads wait for slots of.
select distinct lane from ready where lane <> '';

-- name: settle
-- Differs: tells whether it did. Give the next thread in the lane of a key a slot, if one is free.
select settle(:concurrency_key);
