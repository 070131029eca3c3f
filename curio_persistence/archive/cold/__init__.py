"""Answers from an archive: rows of Parquet files, found by DuckDB, beside those of the database."""
