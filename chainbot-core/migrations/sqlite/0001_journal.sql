-- The journal and the tables derived from it.
--
-- "CBOT" in ASCII: tells our databases from those of other programs.
PRAGMA application_id = 1128419156;

-- Append-only, in commit order. No other index: each one halves the rate of commits, and a run's
-- records are found by the list of places in its row. No AUTOINCREMENT: places are counted in memory.
CREATE TABLE journal (
    lsn  INTEGER PRIMARY KEY,
    run  BLOB    NOT NULL,
    seq  INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    node INTEGER,
    path BLOB,
    ts   INTEGER NOT NULL,
    body BLOB    NOT NULL
) STRICT;

CREATE TABLE workflow (
    id         BLOB    NOT NULL PRIMARY KEY,
    name       TEXT    NOT NULL,
    version    INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    deleted_at INTEGER
) STRICT, WITHOUT ROWID;
-- A name is free again once its workflow is deleted. Also the order of lists.
CREATE UNIQUE INDEX workflow_name ON workflow(name) WHERE deleted_at IS NULL;

CREATE TABLE definition (
    workflow   BLOB    NOT NULL REFERENCES workflow(id),
    version    INTEGER NOT NULL,
    hash       BLOB    NOT NULL,
    source     TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (workflow, version)
) STRICT;
-- A run knows its version by hash alone.
CREATE INDEX definition_hash ON definition(hash);

-- `lsns`: the packed places of the records before `tail_lsn`; the places of later ones are in memory while
-- the run is live, and from `tail_lsn` on in the journal. `parked` is 1 while a run waits without being held in memory.
CREATE TABLE run (
    id          BLOB    NOT NULL PRIMARY KEY,
    workflow    BLOB    NOT NULL,
    name        TEXT    NOT NULL,
    definition  BLOB    NOT NULL,
    status      INTEGER NOT NULL,
    parked      INTEGER NOT NULL,
    detail      TEXT,
    created_at  INTEGER NOT NULL,
    finished_at INTEGER,
    first_lsn   INTEGER NOT NULL,
    tail_lsn    INTEGER NOT NULL,
    lsns        BLOB
) STRICT, WITHOUT ROWID;
-- Recovery reads the unfinished runs only, however many are finished (4 and above are the terminal statuses).
CREATE INDEX run_unfinished ON run(parked, tail_lsn) WHERE status < 4;
-- Lists: newest first by status, alone or within one workflow.
CREATE INDEX run_status ON run(status, id);
CREATE INDEX run_workflow ON run(workflow, status, id);

-- By run, because a timer is cleared by run and record; a start reads all of them anyway.
CREATE TABLE timer (
    run BLOB    NOT NULL,
    seq INTEGER NOT NULL,
    due INTEGER NOT NULL,
    PRIMARY KEY (run, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE inbox (
    id       BLOB    NOT NULL PRIMARY KEY,
    run      BLOB    NOT NULL,
    node     INTEGER NOT NULL,
    path     BLOB    NOT NULL,
    kind     TEXT    NOT NULL,
    question TEXT    NOT NULL,
    at       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX inbox_run ON inbox(run);

CREATE TABLE idempotency (
    key    TEXT    NOT NULL PRIMARY KEY,
    digest BLOB    NOT NULL,
    made   BLOB    NOT NULL,
    at     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE cursor (
    name TEXT    NOT NULL PRIMARY KEY,
    lsn  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
