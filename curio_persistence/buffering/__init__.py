"""The write-behind queue."""
