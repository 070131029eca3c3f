"""The way out: records as files, and from one database into another."""
