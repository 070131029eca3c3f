"""The entries of a run log, and what follows from them: values and pure functions, no storage."""
