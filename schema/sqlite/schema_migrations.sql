-- Which steps of migrations/ this database has, so that a program knows whether it can work with it.

CREATE TABLE schema_migrations (
    version    INTEGER PRIMARY KEY,
    name       TEXT NOT NULL,
    kind       TEXT NOT NULL CHECK (kind IN ('additive', 'breaking')),
    checksum   TEXT NOT NULL,          -- SHA-256 of the step's file
    applied_at TEXT NOT NULL
) STRICT;
