"""Data that others left behind: a Curio database, run folders, cost ledgers, our own exports."""
