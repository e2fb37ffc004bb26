"""A loaded model: its loader, its thread, and what its raw outputs mean."""
