"""Real servers for tests and benchmarks, and a network that fails on request."""
