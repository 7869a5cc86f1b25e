-- Who may do what: users, the logins they have, and the tokens that act for them. No password and no token is here: a
-- password's argon2id or bcrypt text, and SHA-256 of everything else.
CREATE TABLE account (
    id          BLOB    NOT NULL PRIMARY KEY,
    name        TEXT    NOT NULL UNIQUE,
    role        TEXT    NOT NULL,
    active      INTEGER NOT NULL,
    password    TEXT    NOT NULL,
    must_change INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    seen_at     INTEGER
) STRICT, WITHOUT ROWID;

-- A login is a family of refresh tokens, each of which is good once. `refresh`: the one that is good now.
CREATE TABLE login (
    id         BLOB    NOT NULL PRIMARY KEY,
    account    BLOB    NOT NULL REFERENCES account(id) ON DELETE CASCADE,
    kind       TEXT    NOT NULL,
    refresh    BLOB    NOT NULL,
    created_at INTEGER NOT NULL,
    seen_at    INTEGER NOT NULL,
    idle_until INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    address    TEXT    NOT NULL,
    agent      TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX login_account ON login(account);

-- Refresh tokens that were used: whoever comes with one holds a copy.
CREATE TABLE login_spent (
    digest BLOB    NOT NULL PRIMARY KEY,
    login  BLOB    NOT NULL REFERENCES login(id) ON DELETE CASCADE,
    at     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX login_spent_login ON login_spent(login, at);

-- `scopes`: a JSON list of text.
CREATE TABLE api_token (
    id         BLOB    NOT NULL PRIMARY KEY,
    account    BLOB    NOT NULL REFERENCES account(id) ON DELETE CASCADE,
    name       TEXT    NOT NULL,
    prefix     TEXT    NOT NULL,
    digest     BLOB    NOT NULL UNIQUE,
    scopes     TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at    INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX api_token_account ON api_token(account);
