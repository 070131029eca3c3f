"""Recording of runs; needs only the ten published methods."""
