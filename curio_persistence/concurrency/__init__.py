"""Threads and processes: fair locks, prefetching, forks."""
