"""What every program that runs YOLO models needs to know about ultralytics and its weights."""
