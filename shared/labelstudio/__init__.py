"""Label Studio's protocols, from its source (1.23.2) and from recorded requests of a running server."""
