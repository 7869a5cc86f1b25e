-- A version of tomorrow, for tests of upgrades: it rewrites every row of a table that is in use, and keeps what it found.
ALTER TABLE run ADD COLUMN colour TEXT NOT NULL DEFAULT 'grey';
UPDATE run SET colour = 'green' WHERE status < 4;
CREATE TABLE found_by_next_schema (run BLOB NOT NULL PRIMARY KEY) STRICT, WITHOUT ROWID;
INSERT INTO found_by_next_schema SELECT id FROM run;
