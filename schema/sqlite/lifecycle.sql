-- How long records are kept: policies and legal holds, and the lease of the program that expires.

CREATE TABLE agent_lifecycle (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    kind       TEXT NOT NULL,          -- policy, hold or lease
    name       TEXT NOT NULL,
    settings   TEXT,                   -- a JSON object
    updated_at TEXT NOT NULL CHECK (updated_at GLOB '????-??-??T??:??:??.??????+00:00'),
    UNIQUE (kind, name)
) STRICT;
