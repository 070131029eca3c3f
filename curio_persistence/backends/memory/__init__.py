"""Rows in dictionaries."""
