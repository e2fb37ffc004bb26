"""`make demo`: the whole loop with a real Label Studio."""
