-- The oldest expired keys, $2 at most. Those that another worker is about to drop are left to it.
DELETE FROM keys
WHERE scope IN (
    SELECT scope FROM keys
    WHERE appended_at < $1
    ORDER BY appended_at
    LIMIT $2
    FOR UPDATE SKIP LOCKED
)
