"""Benchmarks of the package against the bare drivers."""
