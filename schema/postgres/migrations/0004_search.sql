-- additive: a search index, and of each run whether it is in there.

ALTER TABLE {schema}.agent_runs ADD COLUMN indexed SMALLINT;
CREATE INDEX agent_runs_unindexed ON {schema}.agent_runs (id) WHERE indexed IS NULL;

CREATE TABLE {schema}.agent_search_documents (
    place     BIGINT PRIMARY KEY,
    kind      SMALLINT NOT NULL,
    record_id BIGINT NOT NULL,
    length    INTEGER NOT NULL,
    words     TSVECTOR NOT NULL
);

CREATE UNIQUE INDEX agent_search_documents_by_record
    ON {schema}.agent_search_documents (kind, record_id);
CREATE INDEX agent_search_documents_words ON {schema}.agent_search_documents USING gin (words);

CREATE TABLE {schema}.agent_search_state (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
