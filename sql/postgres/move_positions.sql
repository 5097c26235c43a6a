-- Compare-and-set: as many rows move as stand where their range begins. They are locked in the
-- order of their partitions, so that two workers wait for each other in one direction only; who
-- waited finds the position moved.
UPDATE positions AS p
SET next_offset = moving.log_to,
    last_offset = coalesce(moving.last_offset, p.last_offset),
    last_hash = coalesce(moving.last_hash, p.last_hash)
FROM (
    SELECT held.partition, ranges.log_to, ranges.last_offset, ranges.last_hash
    FROM unnest($1::integer[], $2::bigint[], $3::bigint[], $4::bigint[], $5::uuid[])
        AS ranges (partition, log_from, log_to, last_offset, last_hash)
    JOIN positions AS held
        ON held.partition = ranges.partition AND held.next_offset = ranges.log_from
    ORDER BY held.partition
    FOR UPDATE OF held
) AS moving
WHERE p.partition = moving.partition
