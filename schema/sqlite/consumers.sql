-- The position of each consumer in the change feed of a table.

CREATE TABLE agent_consumers (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    name       TEXT NOT NULL,
    table_name TEXT NOT NULL,
    watermark  TEXT NOT NULL,          -- curio_persistence.store.change_feed.Watermark as text
    updated_at TEXT NOT NULL CHECK (updated_at GLOB '????-??-??T??:??:??.??????+00:00'),
    UNIQUE (name, table_name)
) STRICT;
