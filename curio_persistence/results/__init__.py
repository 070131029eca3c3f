"""The results of queries, in the forms that people use."""
