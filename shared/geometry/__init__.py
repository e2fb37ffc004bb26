"""Detections, boxes, rings and outlines in pixels: pure functions of numpy arrays."""
