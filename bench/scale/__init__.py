"""labelloop at a size that nobody has at hand, in virtual time."""
