-- The search index. The words of a document are in an FTS5 table, agent_search_words, created
-- when the first record is indexed. The index gives candidates; the records decide.

CREATE TABLE agent_search_documents (
    slot      INTEGER PRIMARY KEY,     -- the record's time in milliseconds, or the next free number
    kind      INTEGER NOT NULL,        -- 0 run, 1 event, 2 model call
    record_id INTEGER NOT NULL,
    length    INTEGER NOT NULL,        -- number of words
    words     TEXT                     -- of a run: FTS5 needs them when the run changes
) STRICT;

CREATE UNIQUE INDEX agent_search_documents_by_record ON agent_search_documents (kind, record_id);

CREATE TABLE agent_search_state (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
