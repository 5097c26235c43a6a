INSERT INTO dead_letters (partition, log_offset, user_id, reason, payload, appended_at)
SELECT partition, log_offset, user_id, reason, payload, $6
FROM unnest($1::integer[], $2::bigint[], $3::text[], $4::text[], $5::bytea[])
    AS new (partition, log_offset, user_id, reason, payload)
ON CONFLICT (partition, log_offset) DO NOTHING
