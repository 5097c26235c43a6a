INSERT INTO outcomes (partition, log_offset, user_id, outcome, appended_at)
SELECT partition, log_offset, user_id, outcome, $5
FROM unnest($1::integer[], $2::bigint[], $3::text[], $4::text[])
    AS new (partition, log_offset, user_id, outcome)
ON CONFLICT (partition, log_offset) DO NOTHING
