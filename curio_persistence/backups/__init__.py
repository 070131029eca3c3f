"""Backups of whole databases, in a directory or an object store; and what differs from them."""
