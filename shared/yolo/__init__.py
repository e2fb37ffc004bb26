"""ultralytics and its weights, for every program that runs YOLO models."""
