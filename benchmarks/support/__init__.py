"""Shared code of benchmarks: databases to measure on, timing, pages of results."""
