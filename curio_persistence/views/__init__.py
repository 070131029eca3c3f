"""What a person reads of runs, the same in a terminal, on a page and in a notebook."""
