-- Which steps of migrations/ this replica has, so that a program knows whether it can work with it.

CREATE TABLE IF NOT EXISTS schema_migrations ON CLUSTER '{cluster}' (
    version    UInt32,
    name       String,
    kind       String,                 -- additive or breaking
    checksum   String,                 -- SHA-256 of the step's file
    applied_at DateTime64(6, 'UTC')
) ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/all/{database}/{table}', '{replica}')
ORDER BY version;
