-- Finished runs as one compressed blob each, and what retention needs to find the ones to delete.
--
-- `run.archived`: 0 = its records are in the journal; 1 = they are in `archive`; 2 = the run is over and its records stay
-- in the journal, because together they are too large for one blob.
ALTER TABLE run ADD COLUMN archived INTEGER NOT NULL DEFAULT 0;
-- Filled in idle time only, so that the end of a run costs nothing more.
CREATE INDEX run_kept ON run(workflow, status, finished_at) WHERE archived > 0;

-- By the run's first place, which its row has, so that a blob needs no index. `parent`: the run whose step made this one.
-- The columns that are searched stand before the blob, whose pages are then not read.
CREATE TABLE archive (
    first_lsn INTEGER PRIMARY KEY,
    last_lsn  INTEGER NOT NULL,
    run       BLOB    NOT NULL,
    parent    BLOB,
    body      BLOB    NOT NULL
) STRICT;
-- A reader of the journal who comes back late finds here what is not in the journal any more.
CREATE INDEX archive_last ON archive(last_lsn, first_lsn);

-- Keys expire.
CREATE INDEX idempotency_at ON idempotency(at);
