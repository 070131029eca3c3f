-- The history of alerts: a row for each breach of a rule, and for each time in
-- which a rule could not be measured. It stays when its rule is deleted.

CREATE TABLE agent_alert_history (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    alert_id     TEXT NOT NULL UNIQUE,
    rule_id      TEXT NOT NULL,
    breach       INTEGER NOT NULL,     -- the breaches of a rule are counted: one fires once
    name         TEXT NOT NULL,
    message      TEXT NOT NULL,
    threshold    REAL NOT NULL,
    value        REAL,
    triggered_at TEXT NOT NULL CHECK (triggered_at GLOB '????-??-??T??:??:??.??????+00:00'),
    resolved_at  TEXT CHECK (resolved_at GLOB '????-??-??T??:??:??.??????+00:00'),
    resolution   TEXT,                 -- why it is over
    deliveries   TEXT NOT NULL DEFAULT '[]', -- a JSON array: who was told, or has to be
    deliver_at   TEXT CHECK (deliver_at GLOB '????-??-??T??:??:??.??????+00:00'),
    metadata     TEXT,
    error        TEXT,                 -- the kind of error, if the rule could not be measured
    UNIQUE (rule_id, breach)
) STRICT;

-- Newest alerts.
CREATE INDEX agent_alert_history_by_time ON agent_alert_history (triggered_at);
-- Alerts that are not over.
CREATE INDEX agent_alert_history_open ON agent_alert_history (rule_id)
    WHERE resolved_at IS NULL;
-- Notifications that are to be delivered.
CREATE INDEX agent_alert_history_undelivered ON agent_alert_history (deliver_at)
    WHERE deliver_at IS NOT NULL;
