"""Read a request: its filters and window of time, its records, and its reader."""
