-- What models were found to be able to do, so that a start asks none of them again. `of` is the wire, the address and the name at the server: a
-- row of another one is of another model, and is replaced when this one is asked.
CREATE TABLE model_probe (
    model            TEXT    NOT NULL PRIMARY KEY,
    of               TEXT    NOT NULL,
    at               INTEGER NOT NULL,
    native           INTEGER NOT NULL,
    native_required  INTEGER NOT NULL,
    required_ignored INTEGER NOT NULL,
    schema           INTEGER NOT NULL,
    counts_tokens    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
