"""The common part of the SQL backends."""
