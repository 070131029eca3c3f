"""The contract between the backends and everything above them, and the forms of its rows."""
