-- The search index. It says what may be found; the records say what is.

CREATE TABLE {schema}.agent_search_documents (
    place     BIGINT PRIMARY KEY,      -- the record's time in milliseconds, or the next free number
    kind      SMALLINT NOT NULL,       -- 0 run, 1 event, 2 model call
    record_id BIGINT NOT NULL,
    length    INTEGER NOT NULL,        -- how many words
    words     TSVECTOR NOT NULL
);

CREATE UNIQUE INDEX agent_search_documents_by_record
    ON {schema}.agent_search_documents (kind, record_id);
CREATE INDEX agent_search_documents_words ON {schema}.agent_search_documents USING gin (words);

-- How far it has come.
CREATE TABLE {schema}.agent_search_state (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
