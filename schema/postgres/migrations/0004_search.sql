-- additive: a search index, and of each run whether it is in there.

ALTER TABLE {schema}.agent_runs ADD COLUMN indexed SMALLINT;
CREATE INDEX agent_runs_unindexed ON {schema}.agent_runs (id) WHERE indexed IS NULL;

CREATE TABLE {schema}.agent_search_documents (
    place     BIGINT PRIMARY KEY,
    number    BIGINT NOT NULL,
    record_id BIGINT NOT NULL,
    length    INTEGER NOT NULL,
    kind      SMALLINT NOT NULL
);

CREATE INDEX agent_search_documents_by_record ON {schema}.agent_search_documents (record_id);

CREATE TABLE {schema}.agent_search_segments (
    first       BIGINT PRIMARY KEY,
    size        INTEGER NOT NULL,
    first_place BIGINT NOT NULL,
    last_place  BIGINT NOT NULL,
    forgotten   INTEGER NOT NULL
);

CREATE TABLE {schema}.agent_search_postings (
    segment BIGINT NOT NULL,
    word    BYTEA NOT NULL,
    page    BYTEA NOT NULL,
    PRIMARY KEY (segment, word)
);

ALTER TABLE {schema}.agent_search_postings ALTER COLUMN page SET STORAGE EXTERNAL;

CREATE TABLE {schema}.agent_search_places (
    number      BIGINT PRIMARY KEY,
    first_place BIGINT NOT NULL,
    last_place  BIGINT NOT NULL,
    places      BYTEA NOT NULL
);

ALTER TABLE {schema}.agent_search_places ALTER COLUMN places SET STORAGE EXTERNAL;

CREATE TABLE {schema}.agent_search_state (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
