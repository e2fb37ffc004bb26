"""Training and validation with ultralytics."""
