"""Predictions for videos: frames, tracks of boxes, spans of a timeline."""
