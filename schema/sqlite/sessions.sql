-- Sessions, the runs of one conversation. The first run with a session_id makes the row of the
-- session, and later runs move its times. What a session counts is computed from its runs.

CREATE TABLE agent_sessions (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    session_id    TEXT NOT NULL UNIQUE,
    agent_id      TEXT,                -- of the first run
    agent_name    TEXT NOT NULL DEFAULT '',
    user_id       TEXT,
    status        TEXT NOT NULL DEFAULT 'active', -- active, completed or error
    started_at    TEXT NOT NULL CHECK (started_at GLOB '????-??-??T??:??:??.??????+00:00'),
    ended_at      TEXT CHECK (ended_at GLOB '????-??-??T??:??:??.??????+00:00'),
    last_event_at TEXT NOT NULL CHECK (last_event_at GLOB '????-??-??T??:??:??.??????+00:00'),
    tags          TEXT,                -- a JSON array of texts
    metadata      TEXT,                -- JSON or plain text, as it was given
    created_at    TEXT NOT NULL CHECK (created_at GLOB '????-??-??T??:??:??.??????+00:00'),
    updated_at    TEXT CHECK (updated_at GLOB '????-??-??T??:??:??.??????+00:00') -- by a caller
) STRICT;

-- Newest sessions.
CREATE INDEX agent_sessions_by_time ON agent_sessions (started_at);
-- Newest sessions of one agent.
CREATE INDEX agent_sessions_by_agent ON agent_sessions (agent_id, started_at);
-- Newest sessions of one user.
CREATE INDEX agent_sessions_by_user ON agent_sessions (user_id, started_at)
    WHERE user_id IS NOT NULL;
-- Newest sessions of one status.
CREATE INDEX agent_sessions_by_status ON agent_sessions (status, started_at);

-- A run makes its agent and its session, or moves their times: to a later one at most once in ten
-- seconds, which are the first 18 characters of a time.
CREATE TRIGGER agent_runs_inserted AFTER INSERT ON agent_runs
BEGIN
    INSERT INTO agents (agent_id, name, first_seen_at, last_seen_at, created_at)
    VALUES (
        NEW.agent_id,
        NEW.agent_name,
        coalesce(NEW.started_at, NEW.created_at),
        max(NEW.created_at, coalesce(NEW.finished_at, NEW.created_at)),
        NEW.created_at
    )
    ON CONFLICT (agent_id) DO UPDATE SET
        first_seen_at = min(first_seen_at, excluded.first_seen_at),
        last_seen_at = iif(
            substr(excluded.last_seen_at, 1, 18) > substr(last_seen_at, 1, 18), excluded.last_seen_at, last_seen_at
        )
    WHERE excluded.first_seen_at < first_seen_at
        OR substr(excluded.last_seen_at, 1, 18) > substr(last_seen_at, 1, 18);
    INSERT INTO agent_sessions
        (session_id, agent_id, agent_name, user_id, started_at, last_event_at, created_at)
    SELECT
        NEW.session_id,
        NEW.agent_id,
        NEW.agent_name,
        NEW.user_id,
        coalesce(NEW.started_at, NEW.created_at),
        max(NEW.created_at, coalesce(NEW.finished_at, NEW.created_at)),
        NEW.created_at
    WHERE NEW.session_id IS NOT NULL
    ON CONFLICT (session_id) DO UPDATE SET
        started_at = min(started_at, excluded.started_at),
        last_event_at = iif(
            substr(excluded.last_event_at, 1, 18) > substr(last_event_at, 1, 18), excluded.last_event_at, last_event_at
        )
    WHERE excluded.started_at < started_at
        OR substr(excluded.last_event_at, 1, 18) > substr(last_event_at, 1, 18);
END;

-- The same when a run ends, or gets another agent or session.
CREATE TRIGGER agent_runs_updated AFTER UPDATE OF agent_id, session_id, finished_at ON agent_runs
WHEN NEW.agent_id IS NOT OLD.agent_id
    OR NEW.session_id IS NOT OLD.session_id
    OR NEW.finished_at IS NOT OLD.finished_at
BEGIN
    INSERT INTO agents (agent_id, name, first_seen_at, last_seen_at, created_at)
    VALUES (
        NEW.agent_id,
        NEW.agent_name,
        coalesce(NEW.started_at, NEW.created_at),
        max(NEW.created_at, coalesce(NEW.finished_at, NEW.created_at)),
        NEW.created_at
    )
    ON CONFLICT (agent_id) DO UPDATE SET
        first_seen_at = min(first_seen_at, excluded.first_seen_at),
        last_seen_at = iif(
            substr(excluded.last_seen_at, 1, 18) > substr(last_seen_at, 1, 18), excluded.last_seen_at, last_seen_at
        )
    WHERE excluded.first_seen_at < first_seen_at
        OR substr(excluded.last_seen_at, 1, 18) > substr(last_seen_at, 1, 18);
    INSERT INTO agent_sessions
        (session_id, agent_id, agent_name, user_id, started_at, last_event_at, created_at)
    SELECT
        NEW.session_id,
        NEW.agent_id,
        NEW.agent_name,
        NEW.user_id,
        coalesce(NEW.started_at, NEW.created_at),
        max(NEW.created_at, coalesce(NEW.finished_at, NEW.created_at)),
        NEW.created_at
    WHERE NEW.session_id IS NOT NULL
    ON CONFLICT (session_id) DO UPDATE SET
        started_at = min(started_at, excluded.started_at),
        last_event_at = iif(
            substr(excluded.last_event_at, 1, 18) > substr(last_event_at, 1, 18), excluded.last_event_at, last_event_at
        )
    WHERE excluded.started_at < started_at
        OR substr(excluded.last_event_at, 1, 18) > substr(last_event_at, 1, 18);
END;
