"""The checks of requests: hosts, tokens, keys, roles, origins, limits; the headers of answers."""
