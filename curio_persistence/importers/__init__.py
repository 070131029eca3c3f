"""Data that others left behind: run folders, cost ledgers, and our own exports."""
