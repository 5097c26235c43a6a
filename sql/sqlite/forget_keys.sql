-- Deletes from the front, up to ?2 rows; a key that came later but expires sooner waits its turn.
DELETE FROM keys
WHERE nth IN (SELECT nth FROM keys ORDER BY nth LIMIT ?2)
AND appended_at < ?1
