-- Runs that were deleted, for programs that have copies of them, which read these rows by id.

CREATE TABLE agent_tombstones (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id      TEXT NOT NULL,
    reason      TEXT NOT NULL,         -- expired, erased or restored
    archived_in TEXT,                  -- where an archive has the run
    created_at  TEXT NOT NULL CHECK (created_at GLOB '????-??-??T??:??:??.??????+00:00')
) STRICT;

-- Imports and copies ask whether a run has expired.
CREATE INDEX agent_tombstones_by_run ON agent_tombstones (run_id);
