-- The search index. It gives candidates; the records decide.

CREATE TABLE {schema}.agent_search_documents (
    slot      BIGINT PRIMARY KEY,  -- the record's time in milliseconds, or the next free number
    record_id BIGINT NOT NULL,
    length    INTEGER NOT NULL,    -- number of words
    kind      SMALLINT NOT NULL,   -- 0 run, 1 event, 2 model call
    words     INTEGER[] NOT NULL   -- hashes of the words and of their first letters
);

-- Otherwise the planner would assume that every 500th document has a rare word.
ALTER TABLE {schema}.agent_search_documents ALTER COLUMN words SET STATISTICS 500;

CREATE UNIQUE INDEX agent_search_documents_by_record
    ON {schema}.agent_search_documents (kind, record_id);

CREATE INDEX agent_search_documents_by_word ON {schema}.agent_search_documents USING gin (words);

CREATE TABLE {schema}.agent_search_state (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
