"""What any page needs of HTTP: URLs, static files, downloads, errors as answers."""
