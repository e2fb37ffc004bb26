"""Code that two programs use, or that describes a foreign protocol. Imports go downwards only (see pyproject.toml)."""
