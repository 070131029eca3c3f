-- The search index. What words a record has stands in an FTS5 table, agent_search_words, which is
-- made when the first record is indexed. It says what may be found; the records say what is.

CREATE TABLE agent_search_documents (
    place     INTEGER PRIMARY KEY,     -- the record's time in milliseconds, or the next free number
    kind      INTEGER NOT NULL,        -- 0 run, 1 event, 2 model call
    record_id INTEGER NOT NULL,
    length    INTEGER NOT NULL,        -- how many words
    words     TEXT                     -- those of a run, by which they are found again when it changes
) STRICT;

CREATE UNIQUE INDEX agent_search_documents_by_record ON agent_search_documents (kind, record_id);

-- How far it has come.
CREATE TABLE agent_search_state (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
