"""From a free port to a clean end: the database, the socket, the server."""
