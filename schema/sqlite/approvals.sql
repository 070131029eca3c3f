-- Tickets by which runs ask people whether they may call a tool.

CREATE TABLE agent_approvals (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    ticket_id      TEXT NOT NULL UNIQUE,
    run_id         TEXT NOT NULL REFERENCES agent_runs (run_id) ON DELETE CASCADE,
    agent_id       TEXT NOT NULL,
    tool           TEXT NOT NULL,
    arguments      TEXT,               -- JSON, redacted
    arguments_hash TEXT NOT NULL,      -- SHA-256 of the arguments before that, as canonical JSON
    step_id        TEXT,
    status         TEXT NOT NULL DEFAULT 'pending', -- a pending one is expired from expires_at on
    requested_at   TEXT NOT NULL CHECK (requested_at GLOB '????-??-??T??:??:??.??????+00:00'),
    expires_at     TEXT NOT NULL CHECK (expires_at GLOB '????-??-??T??:??:??.??????+00:00'),
    resolved_by    TEXT,
    resolved_at    TEXT CHECK (resolved_at GLOB '????-??-??T??:??:??.??????+00:00'),
    reason         TEXT,
    response       TEXT,               -- JSON or plain text, as it was given
    metadata       TEXT,               -- JSON or plain text, as it was given
    created_at     TEXT NOT NULL CHECK (created_at GLOB '????-??-??T??:??:??.??????+00:00'),
    updated_at     TEXT NOT NULL CHECK (updated_at GLOB '????-??-??T??:??:??.??????+00:00')
) STRICT;

-- Newest tickets.
CREATE INDEX agent_approvals_by_time ON agent_approvals (requested_at);
-- Tickets of one run.
CREATE INDEX agent_approvals_by_run ON agent_approvals (run_id, requested_at);
-- Tickets of one status; the last column tells of those that are pending whose time is over.
CREATE INDEX agent_approvals_by_status ON agent_approvals (status, requested_at, id, expires_at);
