"""The place of the prelabelling job: predictions for unlabelled tasks, written before annotators ask. Not built yet."""
