"""The narrow waist: what a backend must be able to do, and the forms in which rows pass through."""
