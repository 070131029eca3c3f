-- additive: a search index, and of each run whether it is in there.

ALTER TABLE agent_runs ADD COLUMN indexed INTEGER;
CREATE INDEX agent_runs_unindexed ON agent_runs (id) WHERE indexed IS NULL;

CREATE TABLE agent_search_documents (
    place     INTEGER PRIMARY KEY,
    kind      INTEGER NOT NULL,
    record_id INTEGER NOT NULL,
    length    INTEGER NOT NULL,
    words     TEXT
) STRICT;

CREATE UNIQUE INDEX agent_search_documents_by_record ON agent_search_documents (kind, record_id);

CREATE TABLE agent_search_state (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
