-- Who deleted, exported or changed what, and when. Each line is a link of one hash chain.

CREATE TABLE agent_audit_log (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    action         TEXT NOT NULL,      -- delete, expire, export, set policy, ...
    resource       TEXT NOT NULL,      -- a run's id, the name of a policy or hold, a path
    resource_type  TEXT NOT NULL,      -- run, policy, hold, ...
    actor_type     TEXT NOT NULL,
    actor_id       TEXT NOT NULL,      -- by default user@machine:process
    agent_id       TEXT,
    run_id         TEXT,
    metadata       TEXT,               -- a JSON object
    timestamp      TEXT NOT NULL CHECK (timestamp GLOB '????-??-??T??:??:??.??????+00:00'),
    created_at     TEXT NOT NULL CHECK (created_at GLOB '????-??-??T??:??:??.??????+00:00'),
    chain_position INTEGER,            -- from 1
    content_hash   TEXT,               -- of metadata
    prev_hash      TEXT,               -- NULL for the first
    hash           TEXT
) STRICT;

-- The lines in the order of the chain, of which each position is taken once.
CREATE UNIQUE INDEX agent_audit_log_chain ON agent_audit_log (chain_position)
    WHERE chain_position IS NOT NULL;
-- Newest lines.
CREATE INDEX agent_audit_log_by_time ON agent_audit_log (timestamp);
-- Lines about one run, or one agent.
CREATE INDEX agent_audit_log_by_run ON agent_audit_log (run_id, timestamp)
    WHERE run_id IS NOT NULL;
CREATE INDEX agent_audit_log_by_agent ON agent_audit_log (agent_id, timestamp)
    WHERE agent_id IS NOT NULL;
