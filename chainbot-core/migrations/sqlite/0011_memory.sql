-- What agents remember: threads, summaries, blocks, items and archives of chats, with full-text indexes over what is searched.
--
-- An agent is a workflow, so `agent` is a workflow's id. `origin`: 0 = trusted, 1 = untrusted. `speaker`: 0 = user, 1 = assistant, 2 = tool.
-- Owners as in `workflow`. The indexes hold no text of their own and are kept by triggers, so whatever deletes a row, its words go too;
-- `secure-delete` takes them out of the index at once instead of marking them.

CREATE TABLE thread (
    id         BLOB    NOT NULL PRIMARY KEY,
    agent      BLOB    NOT NULL,
    owner      BLOB,
    shared     INTEGER CHECK (shared BETWEEN 0 AND 3),
    title      TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    -- Number of the newest message.
    newest     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX thread_agent ON thread(agent, id);

CREATE TABLE thread_message (
    id       INTEGER PRIMARY KEY,
    thread   BLOB    NOT NULL,
    seq      INTEGER NOT NULL,
    run      BLOB    NOT NULL,
    speaker  INTEGER NOT NULL,
    tokens   INTEGER NOT NULL,
    origin   INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    call     TEXT,
    tool     TEXT,
    is_error INTEGER,
    digest   TEXT,
    calls    TEXT,
    text     TEXT    NOT NULL,
    UNIQUE (thread, seq)
) STRICT;
-- A task appends once.
CREATE INDEX thread_message_run ON thread_message(run);

CREATE TABLE summary (
    thread   BLOB    NOT NULL,
    to_seq   INTEGER NOT NULL,
    from_seq INTEGER NOT NULL,
    tokens   INTEGER NOT NULL,
    origin   INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    text     TEXT    NOT NULL,
    PRIMARY KEY (thread, to_seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE memory_block (
    agent       BLOB    NOT NULL,
    label       TEXT    NOT NULL,
    version     INTEGER NOT NULL,
    -- Of the call that wrote this version.
    key         BLOB,
    chars_max   INTEGER NOT NULL,
    origin      INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    description TEXT    NOT NULL,
    value       TEXT    NOT NULL,
    PRIMARY KEY (agent, label)
) STRICT, WITHOUT ROWID;

CREATE TABLE memory_item (
    seq        INTEGER PRIMARY KEY,
    id         BLOB    NOT NULL UNIQUE,
    -- Null: every agent of `owner`, who is the operator when that is null.
    agent      BLOB,
    owner      BLOB,
    kind       TEXT    NOT NULL,
    source     TEXT    NOT NULL,
    origin     INTEGER NOT NULL,
    at         INTEGER NOT NULL,
    expires_at INTEGER,
    text       TEXT    NOT NULL
) STRICT;
CREATE INDEX memory_item_of ON memory_item(agent, owner, seq);
CREATE INDEX memory_item_expires ON memory_item(expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE chat_archive (
    id         BLOB    NOT NULL PRIMARY KEY,
    name       TEXT    NOT NULL,
    owner      BLOB,
    shared     INTEGER CHECK (shared BETWEEN 0 AND 3),
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    -- Counted as they are added, because a list must not read a gigabyte of messages.
    conversations INTEGER NOT NULL DEFAULT 0,
    messages      INTEGER NOT NULL DEFAULT 0,
    first_at      INTEGER,
    last_at       INTEGER
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX chat_archive_name ON chat_archive(ifnull(owner, x''), name);

CREATE TABLE chat_archive_message (
    seq          INTEGER PRIMARY KEY,
    archive      BLOB    NOT NULL,
    conversation TEXT    NOT NULL,
    message      TEXT    NOT NULL,
    position     INTEGER NOT NULL,
    speaker      INTEGER NOT NULL,
    at           INTEGER,
    is_branch    INTEGER NOT NULL,
    title        TEXT    NOT NULL,
    text         TEXT    NOT NULL,
    UNIQUE (archive, conversation, message)
) STRICT;

CREATE VIRTUAL TABLE thread_message_index USING fts5(
    text, content = 'thread_message', content_rowid = 'id', tokenize = 'unicode61 remove_diacritics 2');
CREATE VIRTUAL TABLE memory_item_index USING fts5(
    text, content = 'memory_item', content_rowid = 'seq', tokenize = 'unicode61 remove_diacritics 2');
CREATE VIRTUAL TABLE chat_archive_message_index USING fts5(
    title, text, content = 'chat_archive_message', content_rowid = 'seq', tokenize = 'unicode61 remove_diacritics 2');
INSERT INTO thread_message_index (thread_message_index, rank) VALUES ('secure-delete', 1);
INSERT INTO memory_item_index (memory_item_index, rank) VALUES ('secure-delete', 1);
INSERT INTO chat_archive_message_index (chat_archive_message_index, rank) VALUES ('secure-delete', 1);

CREATE TRIGGER thread_message_in AFTER INSERT ON thread_message BEGIN
    INSERT INTO thread_message_index (rowid, text) VALUES (new.id, new.text);
END;
CREATE TRIGGER thread_message_out AFTER DELETE ON thread_message BEGIN
    INSERT INTO thread_message_index (thread_message_index, rowid, text) VALUES ('delete', old.id, old.text);
END;
CREATE TRIGGER memory_item_in AFTER INSERT ON memory_item BEGIN
    INSERT INTO memory_item_index (rowid, text) VALUES (new.seq, new.text);
END;
CREATE TRIGGER memory_item_out AFTER DELETE ON memory_item BEGIN
    INSERT INTO memory_item_index (memory_item_index, rowid, text) VALUES ('delete', old.seq, old.text);
END;
CREATE TRIGGER chat_archive_message_in AFTER INSERT ON chat_archive_message BEGIN
    INSERT INTO chat_archive_message_index (rowid, title, text) VALUES (new.seq, new.title, new.text);
END;
CREATE TRIGGER chat_archive_message_out AFTER DELETE ON chat_archive_message BEGIN
    INSERT INTO chat_archive_message_index (chat_archive_message_index, rowid, title, text)
        VALUES ('delete', old.seq, old.title, old.text);
END;
