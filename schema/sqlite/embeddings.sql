-- What the texts of runs, events and model calls mean, as vectors. Made when somebody asks for what
-- is similar; see docs/similarity.md.

CREATE TABLE agent_embeddings (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    table_name TEXT NOT NULL,          -- of the record
    row_id     INTEGER NOT NULL,       -- no foreign key: it is that of one of several tables
    kind       TEXT NOT NULL,          -- of the text: prompt, output, error or message
    model      TEXT NOT NULL,          -- vectors of two models are never compared
    dim        INTEGER NOT NULL,       -- numbers of the vector
    text_hash  INTEGER NOT NULL,       -- of the text
    vector     BLOB NOT NULL,          -- numbers of 16 bits, little-endian; its length is 1
    UNIQUE (row_id, table_name, kind, model)
) STRICT;

-- The vectors of a model, in the order in which they were made.
CREATE INDEX agent_embeddings_by_model ON agent_embeddings (model);
-- Texts that have a vector already.
CREATE INDEX agent_embeddings_by_text ON agent_embeddings (text_hash, model);
