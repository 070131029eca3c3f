-- Rules of alerts: what is measured, of which records, and the sinks that are told.

CREATE TABLE agent_alert_rules (
    id               INTEGER PRIMARY KEY AUTOINCREMENT,
    rule_id          TEXT NOT NULL UNIQUE,
    name             TEXT NOT NULL,
    condition        TEXT NOT NULL,    -- error_rate, cost, latency, event_count, silence, and so on
    threshold        REAL NOT NULL,
    window_seconds   INTEGER NOT NULL,
    aggregation      TEXT,             -- of a latency or a metric: avg, p95 and so on
    metric           TEXT,
    resolve_below    REAL,             -- at most this: over; NULL is the threshold
    cooldown_seconds INTEGER NOT NULL DEFAULT 0,
    enabled          INTEGER NOT NULL DEFAULT 1,
    agent_id         TEXT,
    session_id       TEXT,
    user_id          TEXT,
    tags             TEXT,             -- a JSON array: runs with any of them
    model            TEXT,
    sinks            TEXT NOT NULL DEFAULT '[]', -- a JSON array; URLs may have secrets in them
    metadata         TEXT,
    created_at       TEXT NOT NULL CHECK (created_at GLOB '????-??-??T??:??:??.??????+00:00'),
    updated_at       TEXT NOT NULL CHECK (updated_at GLOB '????-??-??T??:??:??.??????+00:00')
) STRICT;
