"""Run a server: open the database and a socket, serve, and close them."""
