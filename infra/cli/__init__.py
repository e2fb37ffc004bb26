"""The `labelloop` command."""
