"""Keep a replica of a database in ClickHouse: each row once, also after a crash."""
