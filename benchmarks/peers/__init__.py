"""What a call costs, compared with packages that keep similar things."""
