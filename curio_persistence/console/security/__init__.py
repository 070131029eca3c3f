"""The checks of requests: hosts, tokens, roles, origins, and the headers of answers."""
