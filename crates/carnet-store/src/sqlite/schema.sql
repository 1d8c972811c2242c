-- Format 1. Text is compared byte by byte; revisions and places are never used twice.
CREATE TABLE meta (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    revision INTEGER NOT NULL CHECK (revision >= 0),
    next_seq INTEGER NOT NULL CHECK (next_seq >= 1)
) STRICT;
INSERT INTO meta (one, revision, next_seq) VALUES (1, 0, 1);
CREATE TABLE record (
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    revision INTEGER NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (kind, id)
) STRICT;
CREATE TABLE outbox (
    seq INTEGER PRIMARY KEY,
    revision INTEGER NOT NULL,
    id TEXT NOT NULL UNIQUE,
    bytes BLOB NOT NULL,
    narrows INTEGER NOT NULL CHECK (narrows IN (0, 1))
) STRICT;
