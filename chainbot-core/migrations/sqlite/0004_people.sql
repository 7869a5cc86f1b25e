-- Answers of people stay with their question, so that the same answer may come twice; and waits for events.
ALTER TABLE inbox ADD COLUMN action TEXT;
ALTER TABLE inbox ADD COLUMN answer TEXT;
ALTER TABLE inbox ADD COLUMN answered_by TEXT;
ALTER TABLE inbox ADD COLUMN answered_at INTEGER;
CREATE INDEX inbox_open ON inbox(at, id) WHERE answered_at IS NULL;

-- A row for each wait, with the place of the record that began it: earlier events are not for it.
CREATE TABLE listen (
    run   BLOB    NOT NULL,
    seq   INTEGER NOT NULL,
    lsn   INTEGER NOT NULL,
    topic TEXT    NOT NULL,
    PRIMARY KEY (run, seq)
) STRICT, WITHOUT ROWID;
