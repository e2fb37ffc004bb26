"""Predictions for tasks: images and videos are fetched, models run, regions written. For predict and for jobs."""
