-- The todo with this id or, where there is none, the next one.
SELECT id, title, description, completed, user_id, created_at, updated_at
FROM todos
WHERE id >= ?1
ORDER BY id
LIMIT 1
