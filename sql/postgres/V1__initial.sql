-- The schema of a fleet. `millpond migrate` applies it. To apply it by hand, with the second file
-- writing the history by which the program knows that it was:
--
--     psql -v ON_ERROR_STOP=1 -1 -f V1__initial.sql -f applied_by_hand.sql "$DATABASE_URL"
--
-- Times are microseconds since the Unix epoch. Hashes of 128 bits are kept as uuid: 16 bytes
-- without a header. Texts are compared byte by byte: no order of a language is needed, and that
-- one does not change with the system's libraries.

-- Exactly the living todos. Room is left in each page: an update that changes no indexed column
-- then stays in its page and touches no index.
CREATE TABLE todos (
    id uuid NOT NULL PRIMARY KEY,
    title text COLLATE "C" NOT NULL CHECK (char_length(title) BETWEEN 1 AND 200),
    description text COLLATE "C" NOT NULL CHECK (char_length(description) <= 10000),
    completed boolean NOT NULL,
    user_id text COLLATE "C" NOT NULL CHECK (char_length(user_id) BETWEEN 1 AND 128),
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL CHECK (updated_at >= created_at)
) WITH (fillfactor = 90);

-- Servers load in this order, oldest first. New todos come at its end.
CREATE INDEX todos_oldest_first ON todos (created_at, id);

-- Idempotency keys.
CREATE TABLE keys (
    scope uuid NOT NULL PRIMARY KEY,
    fingerprint uuid NOT NULL,
    -- JSON; NULL is plainly applied.
    outcome text COLLATE "C",
    appended_at bigint NOT NULL
);

-- Expired keys are found in front.
CREATE INDEX keys_oldest_first ON keys (appended_at);

CREATE TABLE gift_codes (
    user_id text COLLATE "C" NOT NULL PRIMARY KEY CHECK (char_length(user_id) BETWEEN 1 AND 128),
    code text COLLATE "C" NOT NULL UNIQUE CHECK (char_length(code) BETWEEN 1 AND 64),
    issued_at bigint NOT NULL
);

-- One row: how many gift codes were issued.
CREATE TABLE gift_stock (
    one integer PRIMARY KEY CHECK (one = 1),
    issued bigint NOT NULL CHECK (issued >= 0)
) WITH (fillfactor = 10);

INSERT INTO gift_stock (one, issued) VALUES (1, 0);

-- One row per partition of the log: the next offset to apply, the offset from which on exceptional
-- outcomes are still on record, and the last record that was applied, by which the log is known
-- again. Every transaction updates some rows and no index: there is room for their versions.
CREATE TABLE positions (
    partition integer PRIMARY KEY CHECK (partition BETWEEN 0 AND 65535),
    next_offset bigint NOT NULL DEFAULT 0 CHECK (next_offset >= 0),
    outcomes_from bigint NOT NULL DEFAULT 0 CHECK (outcomes_from BETWEEN 0 AND next_offset),
    last_offset bigint CHECK (last_offset BETWEEN 0 AND next_offset - 1),
    last_hash uuid,
    CHECK ((last_offset IS NULL) = (last_hash IS NULL))
) WITH (
    fillfactor = 10,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0
);

-- Exceptional outcomes only: any other position below `next_offset` is plainly applied.
CREATE TABLE outcomes (
    partition integer NOT NULL,
    log_offset bigint NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    -- JSON.
    outcome text COLLATE "C" NOT NULL,
    appended_at bigint NOT NULL,
    PRIMARY KEY (partition, log_offset)
);

-- Nothing is checked here: what broke a rule elsewhere has to fit.
CREATE TABLE dead_letters (
    partition integer NOT NULL,
    log_offset bigint NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    reason text COLLATE "C" NOT NULL,
    payload bytea NOT NULL,
    appended_at bigint NOT NULL,
    PRIMARY KEY (partition, log_offset)
);

-- Records on their way into the feed of applied ranges: written with what they tell of, deleted
-- once the feed has them. They are compressed already, so that is not tried again, and since they
-- live for moments, what they leave behind is vacuumed often.
CREATE TABLE outbox (
    partition integer NOT NULL,
    log_from bigint NOT NULL,
    log_to bigint NOT NULL CHECK (log_to > log_from),
    payload bytea NOT NULL,
    PRIMARY KEY (partition, log_from)
) WITH (
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_insert_scale_factor = 0,
    autovacuum_vacuum_cost_delay = 0,
    toast.autovacuum_vacuum_scale_factor = 0,
    toast.autovacuum_vacuum_threshold = 10000,
    toast.autovacuum_vacuum_cost_delay = 0
);

ALTER TABLE outbox ALTER COLUMN payload SET STORAGE EXTERNAL;
