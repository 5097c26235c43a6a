-- Times are microseconds since the Unix epoch; ids and hashes are their 16 bytes.

CREATE TABLE todos (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    title TEXT NOT NULL CHECK (length(title) BETWEEN 1 AND 200),
    description TEXT NOT NULL CHECK (length(description) <= 10000),
    completed INTEGER NOT NULL CHECK (completed IN (0, 1)),
    user_id TEXT NOT NULL CHECK (length(user_id) BETWEEN 1 AND 128),
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL CHECK (updated_at >= created_at)
) STRICT, WITHOUT ROWID;

-- Idempotency keys. `nth` grows with the log, so expired keys are found in front without an index
-- of their own.
CREATE TABLE keys (
    nth INTEGER PRIMARY KEY,
    scope BLOB NOT NULL UNIQUE CHECK (length(scope) = 16),
    fingerprint BLOB NOT NULL CHECK (length(fingerprint) = 16),
    -- JSON; NULL is plainly applied.
    outcome TEXT,
    appended_at INTEGER NOT NULL
) STRICT;

CREATE TABLE gift_codes (
    user_id TEXT NOT NULL PRIMARY KEY CHECK (length(user_id) BETWEEN 1 AND 128),
    code TEXT NOT NULL UNIQUE CHECK (length(code) BETWEEN 1 AND 64),
    issued_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- One row: how many gift codes were issued.
CREATE TABLE gift_stock (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    issued INTEGER NOT NULL CHECK (issued >= 0)
) STRICT;

INSERT INTO gift_stock (one, issued) VALUES (1, 0);

-- One row per partition of the log: the next offset to apply, and the offset from which on
-- exceptional outcomes are still on record.
CREATE TABLE positions (
    partition INTEGER PRIMARY KEY CHECK (partition BETWEEN 0 AND 65535),
    next_offset INTEGER NOT NULL CHECK (next_offset >= 0),
    outcomes_from INTEGER NOT NULL CHECK (outcomes_from BETWEEN 0 AND next_offset)
) STRICT;

-- Exceptional outcomes only: any other position below `next_offset` is plainly applied.
CREATE TABLE outcomes (
    partition INTEGER NOT NULL,
    log_offset INTEGER NOT NULL,
    user_id TEXT NOT NULL,
    -- JSON.
    outcome TEXT NOT NULL,
    appended_at INTEGER NOT NULL,
    PRIMARY KEY (partition, log_offset)
) STRICT, WITHOUT ROWID;

-- Nothing is checked here: what broke a rule elsewhere has to fit.
CREATE TABLE dead_letters (
    partition INTEGER NOT NULL,
    log_offset INTEGER NOT NULL,
    user_id TEXT NOT NULL,
    reason TEXT NOT NULL,
    payload BLOB NOT NULL,
    appended_at INTEGER NOT NULL,
    PRIMARY KEY (partition, log_offset)
) STRICT;
