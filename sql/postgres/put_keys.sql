-- What may be there has expired.
INSERT INTO keys (scope, fingerprint, outcome, appended_at)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[])
ON CONFLICT (scope) DO UPDATE SET
    fingerprint = excluded.fingerprint,
    outcome = excluded.outcome,
    appended_at = excluded.appended_at
