-- Which steps of migrations/ this schema has, so that a program knows whether it can work with it.
-- What stands in braces is replaced with the quoted name of the schema.

CREATE TABLE {schema}.schema_migrations (
    version    INTEGER PRIMARY KEY,
    name       TEXT NOT NULL,
    kind       TEXT NOT NULL CHECK (kind IN ('additive', 'breaking')),
    checksum   TEXT NOT NULL,          -- SHA-256 of the step's file
    applied_at TIMESTAMPTZ NOT NULL
);
