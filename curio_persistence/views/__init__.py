"""Runs as people read them, the same in a terminal, on a page and in a notebook."""
