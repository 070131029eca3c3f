"""What can be asked of a persistence: one module for each kind of question, on any store."""
