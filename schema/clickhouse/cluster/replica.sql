-- The databases that are replicated here. The rows of the n-th one, from 0, have n * 2^48 added to
-- their ids, so that ids are unique here, and those of a single source are its own.

CREATE TABLE IF NOT EXISTS replica_sources ON CLUSTER '{cluster}' (
    source_name String,                -- its name here, which every row carries
    number      UInt16,
    identity    String,                -- of the database, so that no other one is mixed with it
    location    String,                -- where writes go, without secrets
    created_at  DateTime64(6, 'UTC'),
    version     UInt64
) ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/all/{database}/{table}', '{replica}', version)
ORDER BY source_name;

-- How far each source was read: the mark up to which everything is here, and the intent, which is
-- noted before rows are sent.

CREATE TABLE IF NOT EXISTS replica_sync ON CLUSTER '{cluster}' (
    source_name String,
    name        String,                -- of what is read: a table
    n           UInt64,
    mark        String,
    intent      String
) ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/all/{database}/{table}', '{replica}', n)
ORDER BY (source_name, name);
