"""Parts that several pages show: the rail, a step in full, rows of events, hits of a search."""
