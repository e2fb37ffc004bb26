"""What two programs use, or what describes a foreign protocol. Imports of this package go downwards only (see pyproject)."""
