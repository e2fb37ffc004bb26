"""`make demo`: the whole loop, played with a real Label Studio."""
