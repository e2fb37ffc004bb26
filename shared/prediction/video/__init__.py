"""Predictions for videos: tracks of boxes, and spans of a timeline."""
