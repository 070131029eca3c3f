"""ClickHouse as a replica of other databases, on a server or in this process."""
