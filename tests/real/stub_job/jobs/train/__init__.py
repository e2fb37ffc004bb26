"""Stands in for the training job."""
