"""How many planted errors are among the first annotations that a version disputes: docs/suspects.md."""
