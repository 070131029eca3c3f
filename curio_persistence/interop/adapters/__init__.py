"""Recorders of the runs of agent frameworks, one module each, which imports its framework."""
