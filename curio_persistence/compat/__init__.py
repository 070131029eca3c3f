"""Other systems' published names over ours, for programs that were written for them."""
