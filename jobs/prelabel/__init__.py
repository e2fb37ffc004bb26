"""The prelabelling job, not built yet: it will write predictions for unlabelled tasks into Label Studio."""
