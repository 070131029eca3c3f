"""What benchmarks share: databases to measure on, timing, pages of results."""
