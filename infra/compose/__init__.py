"""One GPU box: the compose files, and the scheduler that they start."""
