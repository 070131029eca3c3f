"""What a call costs, measured against the bare drivers."""
