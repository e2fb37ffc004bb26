"""What two programs use, or what describes a foreign protocol. Imports go downwards only (see pyproject)."""
