-- Drops, from the front of each partition, the expired among its first $2 outcomes, and says from
-- where on outcomes are still known. Partitions that a batch moves right now have their turn
-- another time. Returns the largest number that was dropped from one partition.
WITH held AS (
    SELECT partition FROM positions ORDER BY partition FOR UPDATE SKIP LOCKED
),
expired AS (
    SELECT held.partition, front.log_offset
    FROM held
    CROSS JOIN LATERAL (
        SELECT log_offset, appended_at FROM outcomes
        WHERE outcomes.partition = held.partition
        ORDER BY log_offset
        LIMIT $2
    ) AS front
    WHERE front.appended_at < $1
),
last AS (
    SELECT partition, max(log_offset) AS log_offset, count(*) AS dropped
    FROM expired
    GROUP BY partition
),
known AS (
    UPDATE positions SET outcomes_from = last.log_offset + 1
    FROM last
    WHERE positions.partition = last.partition
),
gone AS (
    DELETE FROM outcomes
    USING last
    WHERE outcomes.partition = last.partition AND outcomes.log_offset <= last.log_offset
)
SELECT coalesce(max(dropped), 0) FROM last
