-- When the database was put in place from a backup: times of schedules before that are let go.
CREATE TABLE restored (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    at   INTEGER NOT NULL
) STRICT;

-- Who changed what. Append-only: each row's `link` is a hash over the one before it and all else of its own.
CREATE TABLE audit (
    seq         INTEGER PRIMARY KEY,
    at          INTEGER NOT NULL,
    action      TEXT    NOT NULL,
    actor       TEXT    NOT NULL,
    target      TEXT    NOT NULL,
    target_id   TEXT    NOT NULL,
    request     TEXT,
    before_hash BLOB,
    after_hash  BLOB,
    meta        TEXT,
    link        BLOB    NOT NULL
) STRICT;

-- A hundred rows each, sealed by the row that fills it. They are dropped whole, oldest first; their seals stay.
CREATE TABLE audit_segment (
    number     INTEGER PRIMARY KEY,
    first_at   INTEGER NOT NULL,
    last_at    INTEGER NOT NULL,
    last_link  BLOB    NOT NULL,
    link       BLOB    NOT NULL,
    is_dropped INTEGER NOT NULL DEFAULT 0 CHECK (is_dropped IN (0, 1))
) STRICT;

-- The newest row, so that one that is cut off is missed.
CREATE TABLE audit_head (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    seq  INTEGER NOT NULL,
    link BLOB    NOT NULL
) STRICT;
