-- What starts workflows by itself, and which runs count for each other.

-- One row a trigger of a workflow's current version. `due` is the next time of a schedule, null for other kinds and
-- while it is switched off. A start reads all of them; there is no other way in.
CREATE TABLE workflow_trigger (
    workflow BLOB    NOT NULL REFERENCES workflow(id),
    key      TEXT    NOT NULL,
    enabled  INTEGER NOT NULL,
    due      INTEGER,
    fired_at INTEGER,
    run      BLOB,
    note     TEXT,
    PRIMARY KEY (workflow, key)
) STRICT, WITHOUT ROWID;

-- Workflows that no trigger starts.
CREATE TABLE workflow_disabled (
    workflow BLOB    NOT NULL PRIMARY KEY REFERENCES workflow(id),
    at       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Unfinished runs of workflows with `concurrency`, in the order in which they came.
CREATE TABLE run_gate (
    seq  INTEGER PRIMARY KEY,
    run  BLOB    NOT NULL UNIQUE,
    gate TEXT    NOT NULL,
    max  INTEGER NOT NULL,
    -- Takes the place of those before it.
    ousts INTEGER NOT NULL
) STRICT;
