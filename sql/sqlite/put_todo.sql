INSERT INTO todos (id, title, description, completed, user_id, created_at, updated_at)
VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET
    title = excluded.title,
    description = excluded.description,
    completed = excluded.completed,
    user_id = excluded.user_id,
    created_at = excluded.created_at,
    updated_at = excluded.updated_at
