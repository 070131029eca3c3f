-- Long texts of events and model calls, each stored once in its scope: a session, or a run without
-- one. A marker stands in their place in the row; see docs/content.md.

CREATE TABLE content_blobs (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    address TEXT NOT NULL UNIQUE,      -- the scope, then the SHA-256 of the text
    size    INTEGER NOT NULL,          -- characters of the text
    parent  INTEGER,                   -- the number of the text before the body
    chain   INTEGER,                   -- that of the first text it grew out of
    body    BLOB NOT NULL              -- UTF-8, compressed by zlib
) STRICT;

-- The texts that one grew out of. Other texts cost nothing here.
CREATE INDEX content_blobs_by_chain ON content_blobs (chain, size) WHERE chain IS NOT NULL;
