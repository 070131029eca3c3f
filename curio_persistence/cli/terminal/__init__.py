"""Output to a terminal: tables, text that fits, progress, Ctrl-C."""
