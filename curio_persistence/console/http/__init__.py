"""HTTP for all pages: URLs, static files, downloads, and errors as answers."""
