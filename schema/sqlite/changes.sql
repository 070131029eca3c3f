-- Updates of runs and saved spans, in the order of their commits: what listeners follow. Only the
-- newest 100,000 are kept.

CREATE TABLE agent_changes (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    table_name TEXT NOT NULL,
    row_id     INTEGER NOT NULL        -- no foreign key: the row may be deleted
) STRICT;

-- The search index also updates runs, but not their updated_at.
CREATE TRIGGER agent_runs_changed AFTER UPDATE OF updated_at ON agent_runs
BEGIN
    INSERT INTO agent_changes (table_name, row_id) VALUES ('agent_runs', NEW.id);
END;

CREATE TRIGGER agent_spans_changed AFTER UPDATE OF updated_at ON agent_spans
BEGIN
    INSERT INTO agent_changes (table_name, row_id) VALUES ('agent_spans', NEW.id);
END;

CREATE TRIGGER agent_changes_kept AFTER INSERT ON agent_changes WHEN NEW.id % 1000 = 0
BEGIN
    DELETE FROM agent_changes WHERE id <= NEW.id - 100000;
END;
