-- Messages that are sent after the step that made them is done.
--
-- `state`: 0 = to be sent, 1 = the receiver took it, 2 = given up. `at`: the next try of a pending one, else when it ended.
CREATE TABLE outbox (
    seq      INTEGER PRIMARY KEY,
    id       BLOB    NOT NULL UNIQUE,
    kind     TEXT    NOT NULL,
    run      BLOB    NOT NULL,
    step     TEXT    NOT NULL,
    target   TEXT    NOT NULL,
    bytes    INTEGER NOT NULL,
    state    INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    made_at  INTEGER NOT NULL,
    error    TEXT,
    -- Last, so that what is listed is read without it.
    input    TEXT    NOT NULL
) STRICT;
-- What a start reads is small, and what retention deletes is old.
CREATE INDEX outbox_state ON outbox(state, at);
