-- Of the rights "$2[n] on $1[n]", those that the role does not have.
SELECT wanted.privilege || ' on ' || wanted.relation
FROM unnest($1::text[], $2::text[]) AS wanted (relation, privilege)
WHERE NOT has_table_privilege(wanted.relation, wanted.privilege)
