"""The serverless functions: `predict` (the backend URL) and `train_trigger` (the webhook URL)."""
