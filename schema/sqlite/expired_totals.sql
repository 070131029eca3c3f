-- What expired rows added up to, so that statistics and costs over all time outlive the rows.

CREATE TABLE agent_expired_totals (
    id                 INTEGER PRIMARY KEY AUTOINCREMENT,
    kind               TEXT NOT NULL,  -- run, call, event or tool
    day                TEXT NOT NULL CHECK (day GLOB '????-??-??T00:00:00.000000+00:00'),
    agent_id           TEXT NOT NULL,
    name               TEXT NOT NULL,  -- the model of calls, the name of a tool
    provider           TEXT NOT NULL,
    status             TEXT NOT NULL,
    archive            TEXT NOT NULL,  -- the id of the archive that has the rows, or empty
    count              INTEGER NOT NULL,
    iterations         INTEGER NOT NULL,
    timed              INTEGER NOT NULL, -- how many have a duration
    duration_us        INTEGER NOT NULL, -- the sum of these, in microseconds
    calls              INTEGER NOT NULL, -- model calls of runs; of calls, themselves
    priced             INTEGER NOT NULL, -- how many of the calls have a cost
    cost_usd           INTEGER NOT NULL, -- picodollars
    input_tokens       INTEGER NOT NULL,
    output_tokens      INTEGER NOT NULL,
    cache_read_tokens  INTEGER NOT NULL,
    cache_write_tokens INTEGER NOT NULL,
    reasoning_tokens   INTEGER NOT NULL,
    UNIQUE (kind, day, agent_id, name, provider, status, archive)
) STRICT;
