"""The capabilities of a persistence: one module for each, on any store."""
