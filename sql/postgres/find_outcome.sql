-- The position and the outcome in one statement: between two, an outcome could be forgotten and
-- its position be taken for plainly applied.
SELECT p.next_offset, p.outcomes_from, o.user_id, o.outcome
FROM positions AS p
LEFT JOIN outcomes AS o ON o.partition = p.partition AND o.log_offset = $2
WHERE p.partition = $1
