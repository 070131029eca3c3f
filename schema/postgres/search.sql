-- The search index. It says what may be found; the records say what is.

CREATE TABLE {schema}.agent_search_documents (
    place     BIGINT PRIMARY KEY,  -- the record's time in milliseconds, or the next free number
    number    BIGINT NOT NULL,     -- in the order of taking up; posting lists have it
    record_id BIGINT NOT NULL,
    length    INTEGER NOT NULL,    -- how many words
    kind      SMALLINT NOT NULL    -- 0 run, 1 event, 2 model call
);

CREATE INDEX agent_search_documents_by_record ON {schema}.agent_search_documents (record_id);

-- Posting lists, as `curio_persistence/backends/postgres/postings.py` writes them. A segment has the documents of
-- `size` numbers from `first` on.
CREATE TABLE {schema}.agent_search_segments (
    first       BIGINT PRIMARY KEY,
    size        INTEGER NOT NULL,
    first_place BIGINT NOT NULL,
    last_place  BIGINT NOT NULL,
    forgotten   INTEGER NOT NULL     -- so many of its documents are gone
);

CREATE TABLE {schema}.agent_search_postings (
    segment BIGINT NOT NULL,
    word    BYTEA NOT NULL,      -- the first of the page
    page    BYTEA NOT NULL,
    PRIMARY KEY (segment, word)
);

-- They are compressed already.
ALTER TABLE {schema}.agent_search_postings ALTER COLUMN page SET STORAGE EXTERNAL;

CREATE TABLE {schema}.agent_search_places (
    number      BIGINT PRIMARY KEY, -- that of its documents, divided by 4,096
    first_place BIGINT NOT NULL,
    last_place  BIGINT NOT NULL,
    places      BYTEA NOT NULL
);

ALTER TABLE {schema}.agent_search_places ALTER COLUMN places SET STORAGE EXTERNAL;

-- How far it has come.
CREATE TABLE {schema}.agent_search_state (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
