INSERT INTO todos (id, title, description, completed, user_id, created_at, updated_at)
SELECT * FROM unnest(
    $1::uuid[], $2::text[], $3::text[], $4::boolean[], $5::text[], $6::bigint[], $7::bigint[]
)
ON CONFLICT (id) DO UPDATE SET
    title = excluded.title,
    description = excluded.description,
    completed = excluded.completed,
    user_id = excluded.user_id,
    created_at = excluded.created_at,
    updated_at = excluded.updated_at
