-- The same, with a last statement that fails: nothing of the first ones may stay.
ALTER TABLE run ADD COLUMN colour TEXT NOT NULL DEFAULT 'grey';
UPDATE run SET colour = 'green';
CREATE TABLE found_by_next_schema (run BLOB NOT NULL PRIMARY KEY) STRICT, WITHOUT ROWID;
INSERT INTO found_by_next_schema SELECT NULL FROM journal UNION ALL SELECT NULL;
