-- Judgements of runs, or of spans of runs. A later score of the same author replaces an earlier one.

CREATE TABLE agent_scores (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id     TEXT NOT NULL REFERENCES agent_runs (run_id) ON DELETE CASCADE,
    span_id    TEXT NOT NULL DEFAULT '', -- '' is the run itself
    name       TEXT NOT NULL,
    source     TEXT NOT NULL,          -- human, code or model
    author     TEXT NOT NULL DEFAULT '',
    value      REAL,
    label      TEXT,                   -- a word in place of the value
    comment    TEXT,
    created_at TEXT NOT NULL CHECK (created_at GLOB '????-??-??T??:??:??.??????+00:00'),
    updated_at TEXT NOT NULL CHECK (updated_at GLOB '????-??-??T??:??:??.??????+00:00'),
    UNIQUE (run_id, span_id, name, source, author)
) STRICT;

-- Newest scores.
CREATE INDEX agent_scores_by_time ON agent_scores (created_at);
-- Newest scores of one name.
CREATE INDEX agent_scores_by_name ON agent_scores (name, created_at);
