"""Docker Compose on one machine with a GPU: the compose files and their sweeper."""
