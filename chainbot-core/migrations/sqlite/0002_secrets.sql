-- Secrets, sealed. The key is not in the database; name, owner, version and hosts are bound to the sealed bytes.
CREATE TABLE secret (
    name        TEXT    NOT NULL PRIMARY KEY,
    owner       TEXT    NOT NULL,
    version     INTEGER NOT NULL,
    key_id      BLOB    NOT NULL,
    nonce       BLOB    NOT NULL,
    sealed      BLOB    NOT NULL,
    hosts       TEXT    NOT NULL,
    description TEXT,
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
