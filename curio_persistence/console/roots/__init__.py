"""The APIs of other systems, each below a root of its own, for their own clients."""
