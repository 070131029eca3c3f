"""Long texts, each stored once in its session: what all backends have in common."""
