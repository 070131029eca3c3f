-- The last link of each hash chain. Rows of a run stay after it expired, and anchor what follows.

CREATE TABLE agent_chain_heads (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    kind            TEXT NOT NULL,     -- events, or audit
    name            TEXT NOT NULL,     -- a run's id, or audit
    position        INTEGER NOT NULL,
    hash            TEXT NOT NULL,
    anchor_position INTEGER NOT NULL,  -- the last link that retention deleted; 0 if none
    anchor_hash     TEXT NOT NULL,
    signature       TEXT,              -- HMAC-SHA256 with the audit key
    updated_at      TEXT NOT NULL CHECK (updated_at GLOB '????-??-??T??:??:??.??????+00:00'),
    UNIQUE (kind, name)
) STRICT;
