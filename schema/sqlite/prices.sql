-- Own prices of model calls. Those that were saved last come first.

CREATE TABLE agent_prices (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    price_version TEXT NOT NULL UNIQUE, -- a hash of the entry, which costs by it have as well
    entry         TEXT NOT NULL,        -- JSON: model, input, output, provider, since, and so on
    created_at    TEXT NOT NULL CHECK (created_at GLOB '????-??-??T??:??:??.??????+00:00')
) STRICT;
