"""Name resolution and connections, each bounded by one deadline."""
