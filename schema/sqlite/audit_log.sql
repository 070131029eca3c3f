-- Each deletion: when, by which user of which machine, and of what.

CREATE TABLE agent_audit_log (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    action     TEXT NOT NULL,          -- expire, delete, hold, release, set policy, remove policy
    target     TEXT NOT NULL,          -- a run's id, or the name of a policy or hold
    actor      TEXT NOT NULL,
    details    TEXT,                   -- a JSON object
    created_at TEXT NOT NULL CHECK (created_at GLOB '????-??-??T??:??:??.??????+00:00')
) STRICT;
