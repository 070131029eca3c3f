"""Benchmarks of the package against others that store similar records."""
