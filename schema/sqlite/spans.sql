-- Spans that applications save, or that come from other programs. Those of runs, tools and model
-- calls are not here: they are derived from their own rows.

CREATE TABLE agent_spans (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    trace_id       TEXT NOT NULL,
    span_id        TEXT NOT NULL,
    parent_span_id TEXT,               -- no foreign key: a parent may be saved later, or elsewhere
    run_id         TEXT,               -- the same
    kind           TEXT NOT NULL DEFAULT 'span',
    name           TEXT NOT NULL DEFAULT '',
    status         TEXT NOT NULL DEFAULT 'unset',
    error_message  TEXT,
    started_at     TEXT NOT NULL CHECK (started_at GLOB '????-??-??T??:??:??.??????+00:00'),
    ended_at       TEXT CHECK (ended_at GLOB '????-??-??T??:??:??.??????+00:00'),
    start_nanos    INTEGER,            -- nanoseconds to be added to started_at, up to 999
    end_nanos      INTEGER,            -- the same for ended_at
    agent_id       TEXT,
    session_id     TEXT,
    user_id        TEXT,
    step_id        TEXT,
    input          TEXT,               -- JSON or plain text, as it was given; so are the next six
    output         TEXT,
    attributes     TEXT,
    metrics        TEXT,
    details        TEXT,
    events         TEXT,
    links          TEXT,
    response_id    TEXT,               -- what a provider called the answer of a model
    trace_state    TEXT,
    flags          INTEGER,
    created_at     TEXT NOT NULL CHECK (created_at GLOB '????-??-??T??:??:??.??????+00:00'),
    updated_at     TEXT NOT NULL CHECK (updated_at GLOB '????-??-??T??:??:??.??????+00:00'),
    source_id      TEXT,               -- of a received span: its row of agent_span_sources
    otel_kind      INTEGER,            -- of a received span: OTLP's number of its kind
    otel_status    INTEGER,            -- of a received span: OTLP's number of its status
    rest           TEXT,               -- of a received span: what no other column holds, as JSON
    meaning        TEXT,               -- of a received span: what it was read as, without words
    UNIQUE (trace_id, span_id)
) STRICT;

-- Newest spans.
CREATE INDEX agent_spans_by_time ON agent_spans (started_at);
-- Newest traces that have no run.
CREATE INDEX agent_spans_roots ON agent_spans (started_at)
    WHERE parent_span_id IS NULL;
-- A run's spans.
CREATE INDEX agent_spans_by_run ON agent_spans (run_id, started_at)
    WHERE run_id IS NOT NULL;
-- Spans of one answer of a model, which two programs may have sent.
CREATE INDEX agent_spans_by_response ON agent_spans (response_id, started_at)
    WHERE response_id IS NOT NULL;
-- The spans below a received one.
CREATE INDEX agent_spans_below ON agent_spans (parent_span_id, trace_id)
    WHERE source_id IS NOT NULL AND parent_span_id IS NOT NULL;
