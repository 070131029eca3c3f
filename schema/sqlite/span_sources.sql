-- Who sent received spans: resources and instrumentation scopes, each stored once.

CREATE TABLE agent_span_sources (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    source_id     TEXT NOT NULL UNIQUE,    -- a hash of the rest
    service_name  TEXT NOT NULL DEFAULT '',
    scope_name    TEXT NOT NULL DEFAULT '',
    scope_version TEXT NOT NULL DEFAULT '',
    source        TEXT,                    -- everything that was sent of it, as JSON
    created_at    TEXT NOT NULL CHECK (created_at GLOB '????-??-??T??:??:??.??????+00:00'),
    updated_at    TEXT NOT NULL CHECK (updated_at GLOB '????-??-??T??:??:??.??????+00:00')
) STRICT;
