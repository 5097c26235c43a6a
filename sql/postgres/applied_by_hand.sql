-- What `millpond migrate` writes when it applies V1__initial.sql. The checksum is not looked at.
CREATE TABLE refinery_schema_history (
    version integer PRIMARY KEY,
    name varchar(255),
    applied_on varchar(255),
    checksum varchar(255)
);

INSERT INTO refinery_schema_history (version, name, applied_on, checksum)
VALUES (1, 'initial', to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), '0');
