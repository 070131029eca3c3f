"""Threads and processes beside each other: order, prefetching, forks."""
