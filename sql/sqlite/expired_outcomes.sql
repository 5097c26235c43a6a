-- The last of the expired outcomes in front of a partition, ?3 at most, and how many they are.
SELECT max(log_offset), count(*)
FROM (
    SELECT log_offset, appended_at FROM outcomes
    WHERE partition = ?1 ORDER BY log_offset LIMIT ?3
)
WHERE appended_at < ?2
