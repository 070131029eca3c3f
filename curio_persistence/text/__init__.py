"""Text for search: tokenizing, normalizing, queries and snippets."""
